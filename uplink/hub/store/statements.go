package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"

	"modernc.org/sqlite"
)

// Parsing a statement costs SQLite more than running it: most of ours touch a row or two. So each connection keeps its
// statements, by their text.

// maxStatements bounds what one connection keeps. We have fewer; texts that are put together count anew.
const maxStatements = 256

// openPool opens a pool of connections that keep their statements.
func openPool(dsn string) (*sql.DB, error) {
	c, err := sqlite.NewConnector(dsn)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	return sql.OpenDB(connector{c}), nil
}

type connector struct{ driver.Connector }

func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	x, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	sc, ok := x.(sqliteConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("store: the driver's connection is a %T", x), x.Close())
	}
	return &conn{sc, map[string]sqliteStmt{}}, nil
}

// sqliteConn is what the driver's connections can do. What is missing here would be missing in conn.
type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

type sqliteStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// conn is a connection with the statements that it keeps. database/sql lets one goroutine at a time use it, the rows of its
// queries included (driver.Conn).
type conn struct {
	sqliteConn
	idle map[string]sqliteStmt // not in use
}

// take gives the statement of that text, or nil for one that is not kept: the schema's, pragmas, and the like.
func (c *conn) take(ctx context.Context, query string) (sqliteStmt, error) {
	if s := c.idle[query]; s != nil {
		delete(c.idle, query) // two at a time would reset each other
		return s, nil
	}
	verb, _, _ := strings.Cut(strings.TrimSpace(query), " ")
	switch verb {
	case "SELECT", "INSERT", "UPDATE", "DELETE":
	default:
		return nil, nil
	}
	s, err := c.sqliteConn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	kept, ok := s.(sqliteStmt)
	if !ok {
		return nil, s.Close()
	}
	return kept, nil
}

// giveBack keeps a statement for the next one who asks, if there is room; one that failed is not kept.
func (c *conn) giveBack(query string, s sqliteStmt, failed error) error {
	if failed == nil && c.idle[query] == nil && len(c.idle) < maxStatements {
		c.idle[query] = s
		return nil
	}
	return s.Close()
}

func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	s, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return c.sqliteConn.ExecContext(ctx, query, args)
	}
	r, err := s.ExecContext(ctx, args)
	if cerr := c.giveBack(query, s, err); err == nil {
		err = cerr
	}
	return r, err
}

func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	s, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return c.sqliteConn.QueryContext(ctx, query, args)
	}
	r, err := s.QueryContext(ctx, args)
	if err != nil {
		s.Close()
		return nil, err
	}
	return &rows{r, c, query, s}, nil
}

// Close lets go of the statements first: SQLite keeps a database open as long as there are any.
func (c *conn) Close() error {
	var errs []error
	for _, s := range c.idle {
		errs = append(errs, s.Close())
	}
	clear(c.idle)
	return errors.Join(append(errs, c.sqliteConn.Close())...)
}

// rows are a query's; their end is the end of the statement's use.
type rows struct {
	driver.Rows
	c     *conn
	query string
	stmt  sqliteStmt
}

func (r *rows) Close() error {
	err := r.Rows.Close()
	if cerr := r.c.giveBack(r.query, r.stmt, err); err == nil {
		err = cerr
	}
	return err
}
