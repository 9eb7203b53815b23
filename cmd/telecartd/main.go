// telecartd is the cart's agent. It reads one settings file, and wires.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"telecart/cmd/telecartd/agent"
	"telecart/cmd/telecartd/bedside"
	"telecart/device/all"
	"telecart/device/kit"
	"telecart/uplink/outbox"
)

// version is set by the build.
var version = "devel"

func main() {
	if len(os.Args) == 3 && os.Args[1] == outbox.CheckCommand {
		exit(outbox.CheckMain(os.Args[2]))
	}
	if len(os.Args) > 1 && os.Args[1] == "wipe" {
		exit(wipe(os.Args[2:]))
	}
	config := flag.String("config", "", "settings file (see telecartd.toml)")
	claim := flag.String("claim", "", "enrol with this claim code first")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	exit(run(ctx, *config, *claim))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "telecartd:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func run(ctx context.Context, config, claim string) error {
	if err := noCoreDump(); err != nil { // before anything that is worth keeping
		return err
	}
	set := agent.Defaults()
	if config != "" {
		var err error
		if set, err = agent.Load(config); err != nil {
			return err
		}
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(set.Log.Level)); err != nil {
		return fmt.Errorf("settings: log.level: %w", err)
	}
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	debug.SetGCPercent(50) // a cart has little memory, and frames are large
	checkErasing(log)
	if err := noSwap(os.DirFS("/"), set.Swap, log); err != nil {
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("telecartd: %w", err)
	}
	a, err := agent.New(agent.Options{Settings: set, Version: version, Drivers: all.Table(), Clock: kit.System{},
		Checker: outbox.ExecChecker(exe), Log: log})
	if err != nil {
		return err
	}
	if claim != "" {
		if err := a.Claim(ctx, claim); err != nil {
			return err
		}
	}
	if err := a.Start(ctx); err != nil {
		return err
	}
	l, err := net.Listen("tcp", set.Bedside.Listen)
	if err != nil {
		return fmt.Errorf("telecartd: bedside: %w", err)
	}
	quiet := slog.New(slog.DiscardHandler)
	m := newMetrics(a, func() error { return noSwap(os.DirFS("/"), set.Swap, quiet) })
	page := bedside.New(l.Addr().String(), bedside.Options{Nurse: a, Instruments: a, Faces: a, JPEG: agent.AsJPEG, Problem: agent.Problem,
		Clock: kit.System{}, Log: log, Drawn: m.drawn})
	servers := []*http.Server{server(page.Handler())}
	listeners := []net.Listener{l}
	if set.Metrics.Listen != "" {
		ml, err := net.Listen("tcp", set.Metrics.Listen)
		if err != nil {
			return fmt.Errorf("telecartd: metrics: %w", err)
		}
		servers, listeners = append(servers, server(m.handler())), append(listeners, ml)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for i := range servers {
		wg.Go(func() {
			if err := servers[i].Serve(listeners[i]); !errors.Is(err, http.ErrServerClosed) {
				cancel(err)
			}
		})
	}
	addrs := ""
	if len(listeners) > 1 {
		addrs = " metrics=" + listeners[1].Addr().String()
	}
	fmt.Printf("ready bedside=%s%s\n", page.URL(), addrs)
	err = a.Run(ctx)
	for _, s := range servers {
		s.Close()
	}
	wg.Wait()
	if cause := context.Cause(ctx); err == nil && cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	if errors.Is(err, context.Canceled) {
		return nil // told to stop
	}
	return err
}

func server(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: 64 << 10}
}
