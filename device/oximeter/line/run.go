package line

import (
	"cmp"
	"context"
	"errors"
	"time"

	"telecart/device/kit"
)

// Machine is an instrument's side of a line, without a line: no I/O, no goroutine, no clock of its own.
type Machine interface {
	Mode() Mode                                                // how the line is to be set now
	Take(now time.Time, c Chunk) (answer []byte, failed error) // what came by now, or a silence
}

// Run opens a port and feeds it to the machine that begin makes, until ctx ends or one of them fails. An answer that
// can't be sent is left unsent: whoever waits for it asks again.
func Run(ctx context.Context, clock kit.Clock, p Port, begin func(now time.Time) Machine) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	l, err := Open(p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	m, mode := begin(clock.Now()), p.Mode
	for ctx.Err() == nil {
		c, err := l.Read()
		if err != nil {
			return cmp.Or(ctx.Err(), err)
		}
		answer, err := m.Take(clock.Now(), c)
		if err != nil {
			return err
		}
		if len(answer) > 0 && p.Use == ToTalk {
			_ = l.Write(answer)
		}
		if next := m.Mode(); next != mode {
			if err := l.Set(next); err != nil {
				return err
			}
			mode = next
		}
	}
	return ctx.Err()
}

// Twin is a simulated instrument behind a pseudo-terminal.
type Twin interface {
	Port() string
	Run(ctx context.Context) error
	Unplug() error
}

// Beside runs a twin beside whoever uses its port, and takes it away in the end.
func Beside(ctx context.Context, twin Twin, use func(ctx context.Context, port string) error) (err error) {
	inner, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = twin.Run(inner) // it ends with inner
	}()
	defer func() {
		cancel()
		<-ended
		err = errors.Join(err, twin.Unplug())
	}()
	return use(inner, twin.Port())
}
