package pty

import (
	"errors"
	"io/fs"
	"os"
	"testing"
)

func TestLine(t *testing.T) {
	l, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	port, err := os.OpenFile(l.Path(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	buf := make([]byte, 16)
	for _, s := range []string{"\x01\x0d\x0a\x03\x04\x11\x13\xff", "again"} { // what a terminal would change, swallow or echo
		if _, err := l.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
		if n, err := port.Read(buf); err != nil || string(buf[:n]) != s {
			t.Errorf("%q, %v, want %q", buf[:n], err, s)
		}
		if _, err := port.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
		if n, err := l.Read(buf); err != nil || string(buf[:n]) != s {
			t.Errorf("%q, %v, want %q", buf[:n], err, s)
		}
	}
	full := make([]byte, 1<<16) // nobody reads: lost, and nobody waits
	for range 4 {
		if _, err := l.Write(full); err != nil {
			t.Fatal(err)
		}
	}
	ended := make(chan error)
	go func() { _, err := l.Read(buf); ended <- err }()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, fs.ErrClosed) {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
