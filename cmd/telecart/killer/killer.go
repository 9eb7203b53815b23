// Package killer kills the real agent and the real hub again and again while they work, and then counts: telecart kills.
//
// Parties: the killer plays a nurse who captures as fast as the bedside takes it, and writes down outside of both programs what
// she was told is saved; telecartd and telecart-hub as processes over real sockets, killed by SIGKILL at instants drawn from a
// seed, some before they are ready; at the end of each round package oracle looks at the files of both.
//
// Keys: none of its own.
//
// Invariants: what counts as saved is what the bedside's socket said, even if the agent was dead by then. A kill counts only
// if the program was running. This proves nothing about fsync: the kernel lives on (make lab does that).
package killer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"telecart/capture/ledger"
	"telecart/cmd/telecart/drill/oracle"
	"telecart/cmd/telecart/drill/screen"
	"telecart/cmd/telecart/stage"
)

// Options of a run.
type Options struct {
	Kills int
	Round int // kills of one hub and cart, until both are checked and new ones begin
	Seed  uint64
	Keep  string // parent of the rounds' folders, which stay; "": they go, but for a failed round's
	Say   io.Writer
}

// Result is the last line.
type Result struct {
	Kills        int     `json:"kills"`
	AgentKills   int     `json:"agent_kills"`
	HubKills     int     `json:"hub_kills"`
	EarlyKills   int     `json:"early_kills"` // of these, before the program was ready
	Items        int     `json:"items"`       // captures asked for
	Saved        int     `json:"saved"`       // said to be saved
	Lost         int     `json:"lost"`
	Duplicated   int     `json:"duplicated"`
	Unverifiable int     `json:"unverifiable"` // saved, and no receipt on the cart that can be verified
	Seconds      float64 `json:"seconds"`
}

// ErrBroken: a promise broke.
var ErrBroken = errors.New("kills: a promise broke")

// Lives of the programs, in mean and at most; how many die before they are ready, and within which time.
const (
	agentLife = 600 * time.Millisecond
	hubLife   = 900 * time.Millisecond
	longest   = 4 * time.Second
	earlyOne  = 6 // one in six
	earlyTime = 150 * time.Millisecond
	settled   = 3 * time.Minute
)

// New makes the command.
func New() *cobra.Command {
	o := Options{}
	c := &cobra.Command{Use: "kills", Short: "Kill the agent and the hub under load, again and again, and count what arrived", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o.Say = c.ErrOrStderr()
			r, err := Run(c.Context(), o)
			return errors.Join(err, json.NewEncoder(c.OutOrStdout()).Encode(r))
		}}
	c.Flags().IntVar(&o.Kills, "kills", 1000, "how many")
	c.Flags().IntVar(&o.Round, "round", 100, "how many of them for one hub and cart")
	c.Flags().Uint64Var(&o.Seed, "seed", 1, "of the instants")
	c.Flags().StringVar(&o.Keep, "keep", "", "leave the folders of all rounds in this one")
	c.Flags().Bool("json", true, "one JSON object on the last line, as ever")
	return c
}

// Run kills.
func Run(ctx context.Context, o Options) (r Result, err error) {
	from := time.Now()
	defer func() { r.Seconds = time.Since(from).Seconds() }()
	bin, err := stage.FindBin()
	if err != nil {
		return r, err
	}
	for round := 0; r.Kills < o.Kills; round++ {
		k := &killer{rnd: rand.New(rand.NewPCG(o.Seed, uint64(round))), left: min(o.Round, o.Kills-r.Kills), say: o.Say}
		dir := ""
		if dir, err = os.MkdirTemp(o.Keep, fmt.Sprintf("telecart-kills-%d-%03d-", o.Seed, round)); err == nil {
			dir, err = filepath.Abs(dir)
		}
		if err != nil {
			return r, fmt.Errorf("kills: %w", err)
		}
		if err = k.run(ctx, dir, bin); err != nil {
			err = fmt.Errorf("kills: seed %d, round %d (in %s): %w", o.Seed, round, dir, err)
		}
		r = sum(r, k.Result)
		if err == nil && (k.Lost > 0 || k.Duplicated > 0 || k.Unverifiable > 0) {
			err = fmt.Errorf("%w: seed %d, round %d, in %s", ErrBroken, o.Seed, round, dir)
		}
		if err != nil {
			return r, err
		}
		if o.Keep == "" {
			os.RemoveAll(dir)
		}
		fmt.Fprintf(o.Say, "kills: %d of %d, %d saved\n", r.Kills, o.Kills, r.Saved)
	}
	return r, nil
}

func sum(a, b Result) Result {
	return Result{a.Kills + b.Kills, a.AgentKills + b.AgentKills, a.HubKills + b.HubKills, a.EarlyKills + b.EarlyKills, a.Items + b.Items, a.Saved + b.Saved,
		a.Lost + b.Lost, a.Duplicated + b.Duplicated, a.Unverifiable + b.Unverifiable, 0}
}

// killer is one round.
type killer struct {
	stage *stage.Stage
	say   io.Writer
	out   *os.File // captured.jsonl
	Result

	mu   sync.Mutex
	rnd  *rand.Rand
	left int
	told []oracle.Told
}

func (k *killer) run(ctx context.Context, dir, bin string) error {
	k.stage = &stage.Stage{Dir: dir, Bin: bin, Tenant: "north", Cart: "cart-1", Site: "Kills"}
	defer k.stage.Close()
	if err := k.begin(ctx); err != nil {
		return err
	}
	both, stop := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	for _, live := range []func(context.Context) error{k.agents, k.hubs} {
		wg.Go(func() {
			if err := live(both); err != nil {
				stop(err)
			}
		})
	}
	wg.Wait()
	err := context.Cause(both)
	stop(nil)
	if err != nil {
		return err
	}
	if err := k.settle(ctx); err != nil {
		return err
	}
	k.stage.Close()
	if err := k.out.Close(); err != nil {
		return fmt.Errorf("kills: %w", err)
	}
	v, err := oracle.Check(dir, ledger.Book{Tenant: k.stage.Tenant, Cart: k.stage.Cart}, k.told, k.note)
	k.Saved, k.Lost, k.Duplicated, k.Unverifiable = v.Saved, v.Lost, v.Duplicated, v.Saved-v.Receipts
	return err
}

func (k *killer) note(format string, args ...any) { fmt.Fprintf(k.say, "kills: "+format+"\n", args...) }

// begin makes hub and cart and enrols the one with the other. The hub has a loopback address of its own: a cart that dials
// a dead hub's port would else sometimes meet itself there (TCP's simultaneous open).
func (k *killer) begin(ctx context.Context) (err error) {
	s := k.stage
	if k.out, err = os.Create(filepath.Join(s.Dir, "captured.jsonl")); err != nil {
		return fmt.Errorf("kills: %w", err)
	}
	for _, p := range []*string{&s.Hub.HTTPS, &s.Hub.People, &s.Hub.Metrics, &s.Hub.Media, &s.Bedside, &s.CartMetrics} {
		if *p, err = stage.FreePort(); err != nil {
			return err
		}
	}
	_, port, err := net.SplitHostPort(s.Hub.HTTPS)
	if err != nil {
		return fmt.Errorf("kills: %w", err)
	}
	s.Hub.HTTPS = "127.0.0.2:" + port
	s.Hub.Public, s.Hub.Media = s.Hub.HTTPS, s.Hub.HTTPS
	if err := s.MakeHub(ctx, nil); err != nil {
		return err
	}
	if err := s.MakeCart(); err != nil {
		return err
	}
	if err := s.StartHub(ctx); err != nil {
		return err
	}
	code, err := s.Claim(ctx)
	if err != nil {
		return err
	}
	if _, err := s.StartCart(ctx, code); err != nil {
		return err
	}
	n, err := k.nurse(ctx)
	if err != nil {
		return err
	}
	defer n.Close()
	if _, err := n.Await(ctx, "the link", func(b screen.Bedside) bool { return b.Link.State == "up" }); err != nil {
		return err
	}
	return k.capture(ctx, n, "scan", map[string]any{"code": "QXZ-48151623|Quackenbush Zebulon|2019-04-05"})
}

// take is the next kill, if there is one left: how long the program is to live, and whether it is to be ready before.
func (k *killer) take(mean time.Duration) (life time.Duration, early, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.left == 0 {
		return 0, false, false
	}
	k.left--
	if k.rnd.IntN(earlyOne) == 0 {
		k.EarlyKills++
		return time.Duration(k.rnd.Int64N(int64(earlyTime))), true, true
	}
	return min(time.Duration(k.rnd.ExpFloat64()*float64(mean)), longest), false, true
}

// hubs runs one hub after the other, each until it is killed, and leaves one running.
func (k *killer) hubs(ctx context.Context) error {
	for {
		life, early, ok := k.take(hubLife)
		if !ok {
			return nil
		}
		if !early {
			if err := k.stage.HubProcess().Ready(ctx); err != nil {
				return err
			}
		}
		if err := pause(ctx, life); err != nil {
			return err
		}
		if err := k.kill(k.stage.HubProcess()); err != nil {
			return err
		}
		k.mu.Lock()
		k.HubKills++
		k.Kills++
		k.mu.Unlock()
		if err := k.stage.LaunchHub(); err != nil {
			return err
		}
	}
}

// agents runs one agent after the other, with a nurse at work, each until it is killed, and leaves one running.
func (k *killer) agents(ctx context.Context) error {
	for {
		life, early, ok := k.take(agentLife)
		if !ok {
			return nil
		}
		var work sync.WaitGroup
		if !early {
			if err := k.stage.CartProcess().Ready(ctx); err != nil {
				return err
			}
			work.Go(func() { k.work(ctx) })
		}
		err := pause(ctx, life)
		if err == nil {
			err = k.kill(k.stage.CartProcess())
		}
		work.Wait() // it ends with the agent, or with ctx
		if err != nil {
			return err
		}
		k.mu.Lock()
		k.AgentKills++
		k.Kills++
		k.mu.Unlock()
		if err := k.stage.LaunchCart(""); err != nil {
			return err
		}
	}
}

// kill is what all this is about. A program that had ended by itself is a fault.
func (k *killer) kill(p *stage.Process) error {
	select {
	case <-p.Done():
		return p.LastWords()
	default:
	}
	p.Kill(syscall.SIGKILL)
	return nil
}

// settle lets both live until every item has its receipt; what then lacks one is counted by the oracle.
func (k *killer) settle(ctx context.Context) error {
	for _, p := range []*stage.Process{k.stage.HubProcess(), k.stage.CartProcess()} {
		if err := p.Ready(ctx); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, settled)
	defer cancel()
	from := time.Now()
	for {
		missing, err := k.missing()
		if err != nil {
			return err
		}
		if missing == 0 {
			k.note("%d items settled in %.1f s", len(k.told), time.Since(from).Seconds())
			return nil
		}
		if err := pause(ctx, 200*time.Millisecond); errors.Is(err, context.DeadlineExceeded) {
			k.note("%d of %d items have no receipt after %s", missing, len(k.told), settled)
			return nil
		} else if err != nil {
			return err
		}
	}
}

// pause waits; what happens meanwhile is real.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
