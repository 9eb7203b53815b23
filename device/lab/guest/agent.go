package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// agent is telecartd, the nurse at its screen, and a specialist at the hub outside.
type agent struct {
	binary string
	log    *os.File
	hub    *specialist

	cmd   *exec.Cmd // nil: it does not run
	ended chan struct{}
	nurse *nurse

	mu   sync.Mutex
	told []told
}

// told is one item of which the nurse was told that it is saved.
type told struct {
	ID     string `json:"item"`
	Kind   string `json:"kind"`
	SHA256 string `json:"sha256"` // of the plaintext
}

func newAgent(binary string) (*agent, error) {
	log, err := os.OpenFile(agentLog, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	return &agent{binary: binary, log: log, hub: newSpecialist(os.Getenv("LAB_HUB"), os.Getenv("LAB_PASSWORD"))}, nil
}

// startWait is how long the agent may take to serve: an emulated processor reads it through the machine's file system.
const startWait = 40 * time.Second

// start runs the agent and sits the nurse down at its screen. A claim code enrols it first.
func (a *agent) start(ctx context.Context, claim string) error {
	args := []string{"--config", settingsFile}
	if claim != "" {
		args = append(args, "--claim", claim)
	}
	cmd := exec.Command(a.binary, args...)
	cmd.Stderr = a.log
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	a.cmd, a.ended = cmd, make(chan struct{})
	page := make(chan string, 1)
	go func() {
		defer close(a.ended)
		for in := bufio.NewScanner(out); in.Scan(); {
			if _, u, ok := strings.Cut(in.Text(), "ready bedside="); ok {
				page <- strings.Fields(u)[0]
				break
			}
		}
		// Its exit status says nothing that the checks don't.
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
	}()
	return within(ctx, startWait, func(ctx context.Context) error {
		select {
		case u := <-page:
			a.nurse, err = sitDown(ctx, u)
			return err
		case <-a.ended:
			log, _ := os.ReadFile(agentLog)
			return fmt.Errorf("the agent ended at once: %s", bytes.TrimSpace(log[max(0, len(log)-500):]))
		case <-ctx.Done():
			return fmt.Errorf("the agent does not get ready: %w", ctx.Err())
		}
	})
}

// end sends the agent a signal and waits until it has gone.
func (a *agent) end(sig syscall.Signal) error {
	if a.cmd == nil {
		return nil
	}
	err := a.cmd.Process.Signal(sig)
	<-a.ended
	a.cmd = nil
	if a.nurse != nil {
		a.nurse.leave()
		a.nurse = nil
	}
	return err
}

func (a *agent) stop() {
	// The machine is thrown away: an agent that has ended already is no news.
	_ = a.end(syscall.SIGTERM)
	_ = a.log.Close()
}

var errNoAgent = errors.New("the agent does not run")

// capture gives a command and notes what the nurse is told is saved.
func (a *agent) capture(ctx context.Context, verb string, args map[string]any) ([]told, error) {
	if a.nurse == nil {
		return nil, errNoAgent
	}
	var r struct {
		Items []told `json:"items"`
	}
	err := a.nurse.do(ctx, verb, args, &r)
	a.mu.Lock()
	a.told = append(a.told, r.Items...)
	a.mu.Unlock()
	if err == nil && len(r.Items) == 0 {
		err = fmt.Errorf("%s: the agent says that it is done, and names no item", verb)
	}
	return r.Items, err
}

// still, clip and waveform give one item: one captures it, waits for its receipt, and gives its blob if the nurse's
// copy and what the hub opened are the same to the byte.
func (a *agent) one(ctx context.Context, verb string, args map[string]any) ([]byte, error) {
	items, err := a.capture(ctx, verb, args)
	if err != nil {
		return nil, err
	}
	id := items[0].ID
	if _, err := a.nurse.await(ctx, "the receipt of the "+verb, func(s bedside) bool { return s.sent(id) }); err != nil {
		return nil, err
	}
	here, err := a.nurse.review(ctx, id)
	if err != nil {
		return nil, err
	}
	there, err := a.hub.open(ctx, id)
	if err != nil {
		return nil, err
	}
	if len(here) == 0 || !bytes.Equal(here, there) {
		return nil, fmt.Errorf("%s %s: %d bytes here (SHA-256 %x), %d at the hub (%x)", verb, id, len(here), sha256.Sum256(here), len(there), sha256.Sum256(there))
	}
	return there, nil
}

// writeTold leaves what the nurse was told for the check outside.
func (a *agent) writeTold() (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	for _, t := range a.told {
		if err := e.Encode(t); err != nil {
			return 0, err
		}
	}
	return len(a.told), os.WriteFile(toldFile, b.Bytes(), 0o644)
}

// specialist is somebody at the hub's console who looks at items.
type specialist struct {
	base, password string
	http           *http.Client
	signedIn       bool
}

// specialistName is the account that spine.sh opens.
const specialistName = "lab"

func newSpecialist(base, password string) *specialist {
	return &specialist{base: base, password: password, http: browser()}
}

func (s *specialist) signIn(ctx context.Context) error {
	b, err := json.Marshal(map[string]string{"name": specialistName, "password": s.password})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+"/v1/session", bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Origin", s.base)
	resp, err := s.http.Do(req)
	if err != nil {
		return fmt.Errorf("the hub's console: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the hub's console: sign in: %s", resp.Status)
	}
	s.signedIn = true
	return nil
}

// open gives an item's blob as the hub opened it. Its console learns of an item a moment after the cart has the receipt.
func (s *specialist) open(ctx context.Context, item string) ([]byte, error) {
	if !s.signedIn {
		if err := s.signIn(ctx); err != nil {
			return nil, err
		}
	}
	return fetch(ctx, s.http, s.base+"/v1/items/"+item+"/blob")
}

// fetch asks for a resource until it is there.
func fetch(ctx context.Context, c *http.Client, url string) ([]byte, error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return nil, err
		}
		resp, err := c.Do(req)
		if err != nil {
			return nil, err
		}
		b, err := io.ReadAll(io.LimitReader(resp.Body, maxBlob))
		resp.Body.Close()
		switch {
		case err != nil:
			return nil, err
		case resp.StatusCode == http.StatusOK:
			return b, nil
		case resp.StatusCode != http.StatusNotFound:
			return nil, fmt.Errorf("%s: %s", req.URL.Path, resp.Status)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("%s: %s: %w", req.URL.Path, resp.Status, ctx.Err())
		}
	}
}

const maxBlob = 64 << 20
