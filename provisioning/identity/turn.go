package identity

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/sys/unix"
)

const (
	connectReply = 16 << 10         // bytes of a proxy's answer to CONNECT
	turnTimeout  = 10 * time.Second // until the TLS connection stands
	// unsent is how much of media the kernel takes ahead of what it can send, in bytes: it would only grow old there.
	unsent = 16 << 10
)

// DialTurn opens the TLS connection to a TURN server at host:port, through Proxy if one is set. For turn.NAME, whatever its
// port, that is HubAddress with the pinned root and without a client certificate: its credential says who may. A TURN server
// of another name, which a media engine other than the hub's may have told, is trusted by this machine's roots.
func (c *Cart) DialTurn(ctx context.Context, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, turnTimeout)
	defer cancel()
	s, err := c.current()
	if err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("identity: TURN server: %w", err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host, Time: c.now}
	if host == turnName(s.HubName) {
		address, config = s.HubAddress, c.pinned(host, sha256.Sum256(s.root.Raw))
	}
	conn, err := c.tunnel(ctx, address)
	if err != nil {
		return nil, err
	}
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("identity: TURN server: %w", err)
	}
	return secured, nil
}

// tunnel connects to address, as http.Transport does for Transport: directly, or by CONNECT (RFC 9110, 9.3.6).
func (c *Cart) tunnel(ctx context.Context, address string) (net.Conn, error) {
	proxy, err := c.proxyFor(ctx, address)
	if err != nil {
		return nil, err
	}
	if proxy == nil {
		conn, err := dial(ctx, "tcp", address)
		if err != nil {
			return nil, fmt.Errorf("identity: %w", err)
		}
		shallow(conn)
		return conn, nil
	}
	port := proxy.Port()
	if port == "" {
		port = "80"
	}
	conn, err := dial(ctx, "tcp", net.JoinHostPort(proxy.Hostname(), port))
	if err != nil {
		return nil, fmt.Errorf("identity: proxy: %w", err)
	}
	shallow(conn)
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	if err := connect(conn, proxy.User, address); err != nil {
		conn.Close()
		return nil, fmt.Errorf("identity: proxy %s: %w", proxy.Host, err)
	}
	return conn, nil
}

func (c *Cart) proxyFor(ctx context.Context, address string) (*url.URL, error) {
	if c.Proxy == nil {
		return nil, nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodConnect, "https://"+address, nil)
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	proxy, err := c.Proxy(req)
	if err != nil {
		return nil, fmt.Errorf("identity: proxy: %w", err)
	}
	if proxy != nil && proxy.Scheme != "http" {
		return nil, fmt.Errorf("identity: proxy %s: media goes through http:// proxies only, not %s://", proxy.Host, proxy.Scheme)
	}
	return proxy, nil
}

// connect asks for a tunnel and reads no byte of what comes through it.
func connect(conn net.Conn, user *url.Userinfo, address string) error {
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: address}, Host: address, Header: http.Header{}}
	if user != nil {
		password, _ := user.Password()
		req.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)))
	}
	if err := req.Write(conn); err != nil {
		return err
	}
	in := bufio.NewReader(io.LimitReader(conn, connectReply))
	res, err := http.ReadResponse(in, req)
	if err != nil {
		return err
	}
	res.Body.Close() // there is none after a success
	switch {
	case res.StatusCode != http.StatusOK:
		return fmt.Errorf("it answered %s to CONNECT", res.Status)
	case in.Buffered() > 0:
		return errors.New("it said more than was asked; an intercepting proxy is not supported")
	}
	return nil
}

// shallow bounds the kernel's queue of a connection that carries media. Without it the connection works, only with older pictures.
func shallow(conn net.Conn) {
	t, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsent) })
}
