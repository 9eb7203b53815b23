package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"telecart/cmd/telecart/stage"
)

const (
	settle   = 5 * time.Second
	window   = 20 * time.Second
	restarts = 5
	linkWait = 20 * time.Second

	// streaming instruments are live with no patient there: camera and oximeter. The thermometer runs too, and says that it
	// lies on nobody.
	streaming = 2

	// userHZ is the unit of times in /proc/PID/stat, the same on every Linux that Go runs on (proc(5)).
	userHZ = 100
)

// measureAgent starts a hub and a cart of twins (720p camera, thermometer, oximeter) as processes, enrolled and with the link up, no
// page open.
//
//	agent_idle_mb        VmRSS (anonymous, file-backed and shared pages) at the end of the window, 10^6 bytes
//	agent_idle_cpu_pct   utime+stime over 20 s, after 5 s in which it settles
//	agent_start_ms       from exec until the agent says "ready" after a kill: keys and outbox open; median of 5
//	agent_ready_ms       the same by the agent's own clock, which starts when its main does
func measureAgent(ctx context.Context, bin, parent string) (map[string]float64, error) {
	dir, err := os.MkdirTemp(parent, "bench-agent-")
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	defer os.RemoveAll(dir)
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	s := &stage.Stage{Dir: dir, Bin: bin, Tenant: "north", Cart: "cart-1", Site: "Bench"}
	link, err := stage.NewLink(s)
	if err != nil {
		return nil, err
	}
	defer link.Close()
	defer s.Close()
	if err := s.MakeHub(ctx, nil); err != nil {
		return nil, err
	}
	if err := s.MakeCart(); err != nil {
		return nil, err
	}
	if err := s.StartHub(ctx); err != nil {
		return nil, err
	}
	code, err := s.Claim(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := s.StartCart(ctx, code); err != nil {
		return nil, err
	}
	if _, err := working(ctx, s.CartMetrics); err != nil {
		return nil, err
	}
	var starts, inner []float64
	for range restarts {
		s.KillCart()
		t := time.Now()
		if _, err := s.StartCart(ctx, ""); err != nil {
			return nil, err
		}
		starts = append(starts, time.Since(t).Seconds()*1000)
		f, err := working(ctx, s.CartMetrics)
		if err != nil {
			return nil, err
		}
		inner = append(inner, f["telecart_ready_seconds"]*1000)
	}
	slices.Sort(starts)
	slices.Sort(inner)
	mb, cpu, err := idle(ctx, s.CartPID())
	if err != nil {
		return nil, err
	}
	if _, err := working(ctx, s.CartMetrics); err != nil { // it was at work all the time
		return nil, err
	}
	return map[string]float64{agentIdleMB: mb, agentIdleCPU: cpu, agentStart: starts[restarts/2], agentReady: inner[restarts/2]}, nil
}

// working waits until the agent can capture, its link is up and the instruments run.
func working(ctx context.Context, metrics string) (map[string]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, linkWait)
	defer cancel()
	for {
		f, err := scrape(ctx, metrics)
		if err == nil && f["telecart_ready_seconds"] > 0 && f["telecart_link_up"] == 1 && f["telecart_instruments_live"] >= streaming {
			return f, nil
		}
		if serr := pause(ctx, 50*time.Millisecond); serr != nil {
			return nil, fmt.Errorf("bench: the agent is not at work after %v: ready %v s, link %v, instruments %v: %w", linkWait,
				f["telecart_ready_seconds"], f["telecart_link_up"], f["telecart_instruments_live"], errors.Join(serr, err))
		}
	}
}

// pause waits; what is measured here is real time.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// scrape reads the agent's gauges (Prometheus text format).
func scrape(ctx context.Context, addr string) (map[string]float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	out := map[string]float64{}
	in := bufio.NewScanner(resp.Body)
	for in.Scan() {
		name, value, ok := strings.Cut(in.Text(), " ")
		if v, err := strconv.ParseFloat(value, 64); ok && err == nil {
			out[name] = v
		}
	}
	return out, in.Err()
}

// idle watches a process that is left alone.
func idle(ctx context.Context, pid int) (mb, cpuPct float64, err error) {
	if err := pause(ctx, settle); err != nil {
		return 0, 0, err
	}
	before, err := procFile(pid, "stat", cpuSeconds)
	if err != nil {
		return 0, 0, err
	}
	t := time.Now()
	if err := pause(ctx, window); err != nil {
		return 0, 0, err
	}
	after, err := procFile(pid, "stat", cpuSeconds)
	if err != nil {
		return 0, 0, err
	}
	cpuPct = 100 * (after - before) / time.Since(t).Seconds()
	mb, err = procFile(pid, "status", residentMB)
	return mb, cpuPct, err
}

func procFile(pid int, name string, parse func([]byte) (float64, error)) (float64, error) {
	path := filepath.Join("/proc", strconv.Itoa(pid), name)
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("bench: %w", err)
	}
	v, err := parse(b)
	if err != nil {
		return 0, fmt.Errorf("bench: %s: %w", path, err)
	}
	return v, nil
}

// cpuSeconds is utime+stime, fields 14 and 15 of /proc/PID/stat (proc_pid_stat(5)). The second field is the program's name
// in brackets and may hold anything.
func cpuSeconds(stat []byte) (float64, error) {
	f := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(f) < 13 {
		return 0, errors.New("too few fields")
	}
	sum := 0.0
	for _, b := range f[11:13] {
		ticks, err := strconv.ParseUint(string(b), 10, 64)
		if err != nil {
			return 0, err
		}
		sum += float64(ticks)
	}
	return sum / userHZ, nil
}

// residentMB is VmRSS of /proc/PID/status, in 10^6 bytes; the file gives KiB.
func residentMB(status []byte) (float64, error) {
	for line := range strings.Lines(string(status)) {
		f := strings.Fields(line)
		if len(f) == 3 && f[0] == "VmRSS:" && f[2] == "kB" {
			kib, err := strconv.ParseUint(f[1], 10, 64)
			return float64(kib) * 1024 / 1e6, err
		}
	}
	return 0, errors.New("no VmRSS")
}
