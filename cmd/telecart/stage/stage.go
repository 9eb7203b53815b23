// Package stage puts up a hub and one cart of twins on this machine, as separate processes over real sockets: for the demo
// and the drill.
//
// Parties: telecart-hub and telecartd, found beside the running program. Keys: made here with the hub's own commands; the
// offline root lies in a folder of its own, which the hub is never told. Everything lies under one folder.
package stage

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Stage is one folder with a hub and a cart in it.
type Stage struct {
	Dir    string // has hub/, cart/, offline/ and the logs
	Bin    string // where the programs are
	Tenant string
	Cart   string
	Site   string
	Camera string // "twin", or a device file
	More   []Twin // further instruments
	Proxy  string // the cart's way to the hub; "": none
	Hub    HubAddresses
	// Bedside is where the cart's screen listens.
	Bedside, CartMetrics string

	hub, cart *Process
}

// HubAddresses are where the hub listens and what it tells others.
type HubAddresses struct {
	HTTPS, Public string // the TLS listener, and the address in claims (a relay may stand in front)
	People        string
	Media         string // UDP; "none" is a hub without
	MediaPublic   string // IP that is told to peers; "": the same
	Metrics       string
}

// HubName is the name under which the hub's certificate is made.
const HubName = "hub.demo"

// HubDir, CartDir and OfflineDir are the state folders.
func (s *Stage) HubDir() string     { return filepath.Join(s.Dir, "hub") }
func (s *Stage) CartDir() string    { return filepath.Join(s.Dir, "cart") }
func (s *Stage) OfflineDir() string { return filepath.Join(s.Dir, "offline") }

// FindBin is the folder of the running program, where its two sisters should be.
func FindBin() (string, error) {
	exe, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("stage: %w", err)
	}
	dir := filepath.Dir(exe)
	for _, name := range []string{"telecartd", "telecart-hub"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return "", fmt.Errorf("stage: %s is not beside %s: run make build", name, exe)
		}
	}
	return dir, nil
}

// FreePort finds a loopback TCP address that nobody uses, and that no connection gets while a killed program is away from it.
func FreePort() (string, error) {
	var err error
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000)) // below what the kernel gives to connections (ip(7))
		var l net.Listener
		if l, err = net.Listen("tcp", addr); err == nil {
			return addr, l.Close()
		}
	}
	return "", fmt.Errorf("stage: no free port: %w", err)
}

// MakeHub makes the hub's keys and settings, and one account each for a specialist and IT. Passwords come from the caller.
func (s *Stage) MakeHub(ctx context.Context, accounts []Account) error {
	for _, d := range []string{s.HubDir(), s.CartDir(), s.OfflineDir()} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return fmt.Errorf("stage: %w", err)
		}
	}
	if err := s.command(ctx, "", "telecart-hub", "keys", "init", "--offline", s.OfflineDir(), "--state", s.HubDir(), "--hub", HubName); err != nil {
		return err
	}
	for _, a := range accounts {
		if err := s.command(ctx, a.Password+"\n", "telecart-hub", "user", "add", "--state", s.HubDir(), "--name", a.Name, "--role", a.Role,
			"--tenant", s.Tenant, "--password-stdin"); err != nil {
			return err
		}
	}
	set := fmt.Sprintf("name = %q\nstate = %q\nlisten = %q\naddress = %q\npeople_listen = %q\nmedia_listen = %q\nmetrics_listen = %q\n",
		HubName, s.HubDir(), s.Hub.HTTPS, s.Hub.Public, s.Hub.People, s.Hub.Media, s.Hub.Metrics)
	if s.Hub.MediaPublic != "" {
		set += fmt.Sprintf("media_addresses = [%q]\n", s.Hub.MediaPublic)
	}
	return os.WriteFile(s.hubConfig(), []byte(set), 0o600)
}

// Account is somebody who may sign in at the console.
type Account struct{ Name, Role, Password string }

func (s *Stage) hubConfig() string  { return filepath.Join(s.Dir, "hub.toml") }
func (s *Stage) cartConfig() string { return filepath.Join(s.Dir, "telecartd.toml") }

// Twin is a simulated instrument. Port is where a twin outside the agent is found; "": the driver makes its own.
type Twin struct {
	Name, Driver, Port string
	Options            map[string]string
}

// MakeCart writes the cart's settings: a camera, a thermometer, an oximeter, and what More names.
func (s *Stage) MakeCart() error {
	camera := s.Camera
	if camera == "" {
		camera = "twin"
	}
	set := fmt.Sprintf(`state = %q
site = %q
proxy = %q
swap = "warn" # somebody's own machine: the demo says what that means
[bedside]
listen = %q
[metrics]
listen = %q
[log]
level = "info"
[hotplug]
adopt = false
[[instrument]]
name = "room camera"
driver = "camera"
port = %q
[[instrument]]
name = "thermometer"
driver = "tmp117"
port = "twin"
options = { settle_s = "3" }
[[instrument]]
name = "oximeter"
driver = "nonin"
port = "twin"
`, s.CartDir(), s.Site, s.Proxy, s.Bedside, s.CartMetrics, camera)
	for _, i := range s.More {
		set += fmt.Sprintf("[[instrument]]\nname = %q\ndriver = %q\nport = %q\n", i.Name, i.Driver, cmp.Or(i.Port, "twin"))
		for _, name := range slices.Sorted(maps.Keys(i.Options)) {
			set += fmt.Sprintf("options.%s = %q\n", name, i.Options[name])
		}
	}
	return os.WriteFile(s.cartConfig(), []byte(set), 0o600)
}

// Claim asks the hub for a claim code.
func (s *Stage) Claim(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(s.Bin, "telecart-hub"), "claim", "--state", s.HubDir(), "--tenant", s.Tenant, "--cart", s.Cart, "--site", s.Site)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("stage: telecart-hub claim: %w: %s", err, out)
	}
	for _, f := range strings.Fields(string(out)) {
		if strings.HasPrefix(f, "TC1-") {
			return f, nil
		}
	}
	return "", fmt.Errorf("stage: telecart-hub claim printed no code: %s", out)
}

// StartHub starts the hub and waits until it serves.
func (s *Stage) StartHub(ctx context.Context) error {
	if err := s.LaunchHub(); err != nil {
		return err
	}
	return s.hub.Ready(ctx)
}

// LaunchHub starts the hub.
func (s *Stage) LaunchHub() (err error) {
	s.hub, err = s.launch("hub.log", "telecart-hub", "serve", "--config", s.hubConfig())
	return err
}

// HubProcess and CartProcess are what was started last.
func (s *Stage) HubProcess() *Process  { return s.hub }
func (s *Stage) CartProcess() *Process { return s.cart }

// StartCart starts the agent and waits until it serves; code enrols it first, if there is one. It returns the bedside's URL.
func (s *Stage) StartCart(ctx context.Context, code string) (string, error) {
	if err := s.LaunchCart(code); err != nil {
		return "", err
	}
	if err := s.cart.Ready(ctx); err != nil {
		return "", err
	}
	return s.BedsideURL(), nil
}

// LaunchCart starts the agent.
func (s *Stage) LaunchCart(code string) (err error) {
	args := []string{"--config", s.cartConfig()}
	if code != "" {
		args = append(args, "--claim", code)
	}
	s.cart, err = s.launch("cart.log", "telecartd", args...)
	return err
}

// BedsideURL is where the nurse's screen begins, once the agent is ready.
func (s *Stage) BedsideURL() string { return s.cart.ready["bedside"] }

// KillCart kills the agent as a power cut would, as far as a process can tell.
func (s *Stage) KillCart() { s.cart.Kill(syscall.SIGKILL) }

// CartPID is the agent's process.
func (s *Stage) CartPID() int { return s.cart.cmd.Process.Pid }

// PeopleAddr is where the console really listens.
func (s *Stage) PeopleAddr() string { return s.hub.ready["people"] }

// HTTPSAddr is where the hub's TLS listener really listens.
func (s *Stage) HTTPSAddr() string { return s.hub.ready["https"] }

// Close ends both processes.
func (s *Stage) Close() {
	for _, p := range []*Process{s.cart, s.hub} {
		if p != nil {
			p.Kill(syscall.SIGTERM)
		}
	}
}

func (s *Stage) command(ctx context.Context, stdin, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(s.Bin, name), args...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("stage: %s %s: %w: %s", name, strings.Join(args[:min(2, len(args))], " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// Process is a running program.
type Process struct {
	cmd   *exec.Cmd
	log   string
	line  chan string // "ready KEY=VALUE ..."
	ready map[string]string
	done  chan struct{}
}

// readyWait is how long a program may take to serve.
const readyWait = 20 * time.Second

// launch runs a program. Its log goes to a file in the stage's folder.
func (s *Stage) launch(log, name string, args ...string) (*Process, error) {
	f, err := os.OpenFile(filepath.Join(s.Dir, log), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("stage: %w", err)
	}
	cmd := exec.Command(filepath.Join(s.Bin, name), args...)
	cmd.Stderr = f
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // nothing is left behind
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("stage: %s: %w", name, err), f.Close())
	}
	p := &Process{cmd: cmd, log: f.Name(), line: make(chan string, 1), done: make(chan struct{})}
	var wg sync.WaitGroup
	wg.Go(func() {
		in := bufio.NewScanner(out)
		for in.Scan() {
			if strings.HasPrefix(in.Text(), "ready ") {
				select {
				case p.line <- in.Text():
				default:
				}
			}
		}
		io.Copy(io.Discard, out)
	})
	go func() {
		wg.Wait()
		cmd.Wait()
		f.Close()
		close(p.done)
	}()
	return p, nil
}

// Ready waits until the program prints "ready KEY=VALUE ...". One that does not is killed.
func (p *Process) Ready(ctx context.Context) error {
	if p.ready != nil {
		return nil
	}
	timeout := time.NewTimer(readyWait)
	defer timeout.Stop()
	name := filepath.Base(p.cmd.Path)
	var err error
	select {
	case l := <-p.line:
		p.ready = map[string]string{}
		for _, f := range strings.Fields(l)[1:] {
			if k, v, ok := strings.Cut(f, "="); ok {
				p.ready[k] = v
			}
		}
		return nil
	case <-p.done:
		return p.LastWords()
	case <-timeout.C:
		err = errors.New("it did not get ready in time")
	case <-ctx.Done():
		err = ctx.Err()
	}
	p.Kill(syscall.SIGKILL)
	return fmt.Errorf("stage: %s: %w", name, err)
}

// LastWords is the error that a program ended by itself, with the end of its log.
func (p *Process) LastWords() error {
	tail, _ := os.ReadFile(p.log)
	return fmt.Errorf("stage: %s ended: %s", filepath.Base(p.cmd.Path), bytes.TrimSpace(tail[max(0, len(tail)-2000):]))
}

// Kill sends a signal and waits for the end; a program that does not end on SIGTERM is killed.
func (p *Process) Kill(sig syscall.Signal) {
	p.cmd.Process.Signal(sig)
	timeout := time.NewTimer(10 * time.Second)
	defer timeout.Stop()
	select {
	case <-p.done:
	case <-timeout.C:
		p.cmd.Process.Kill()
		<-p.done
	}
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Ended is closed when either program has ended by itself.
func (s *Stage) Ended() <-chan struct{} {
	c := make(chan struct{})
	go func() {
		select {
		case <-s.hub.Done():
		case <-s.cart.Done():
		}
		close(c)
	}()
	return c
}
