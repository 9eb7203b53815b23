package room

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// ListenAndServe is the room on its own: HTTP (not encrypted) on addr, media on the UDP port of the same number, one
// token for every stream and action. It is meant for measuring, and for a room behind a proxy that ends TLS. It returns
// nil after ctx ended.
func ListenAndServe(ctx context.Context, addr, token string, log *slog.Logger) error {
	if token == "" {
		return errors.New("room: no token: give one with --token")
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("room: %w", err)
	}
	return serve(ctx, ln, token, log)
}

func serve(ctx context.Context, ln net.Listener, token string, log *slog.Logger) error {
	defer ln.Close()
	at := ln.Addr().(*net.TCPAddr)
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: at.IP, Port: at.Port, Zone: at.Zone})
	if err != nil {
		return fmt.Errorf("room: media: %w", err)
	}
	r, err := New(Options{UDP: udp, Log: log, Authorize: func(_ context.Context, t, _ string, _ Action) error {
		if subtle.ConstantTimeCompare([]byte(t), []byte(token)) != 1 {
			return ErrToken
		}
		return nil
	}})
	if err != nil {
		return errors.Join(err, udp.Close())
	}
	srv := &http.Server{Handler: r.Handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, MaxHeaderBytes: 16 << 10}
	stopped := make(chan error, 1)
	go func() { stopped <- srv.Serve(ln) }()
	if log != nil {
		log.Info("room: open", "http", at.String(), "udp", udp.LocalAddr().String())
	}
	select {
	case <-ctx.Done():
		err = nil
	case err = <-stopped:
		err = fmt.Errorf("room: %w", err)
	}
	bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	return errors.Join(err, srv.Shutdown(bye), r.Close())
}
