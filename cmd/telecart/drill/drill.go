// Package drill is the demo's story without a person: a hub and a cart as separate processes over real sockets, a link that is
// cut, an agent that is killed while it captures; and then both ends are checked against each other.
//
// Parties: the drill plays the nurse and the specialist through the screens' own sockets, and stands between cart and hub as
// the link. It counts as captured what the nurse was told is saved, and checks from the files alone, after both programs
// have ended, with nothing of theirs but the format.
package drill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"telecart/cmd/telecart/drill/oracle"
	"telecart/cmd/telecart/drill/screen"
	"telecart/cmd/telecart/stage"
)

// drillTime bounds the whole run.
const drillTime = 60 * time.Second

type drill struct {
	stage    *stage.Stage
	link     *stage.Link
	say      io.Writer
	report   Report
	nurse    *screen.Screen[screen.Bedside]
	doctor   *screen.Screen[console]
	doctorHC *http.Client
	pic      *picture
	password string

	mu      sync.Mutex
	told    []oracle.Told
	planted [][]byte // what must not be found on the cart's disk
}

// Run is the whole story.
func Run(ctx context.Context, o Options) (r Report, err error) {
	ctx, cancel := context.WithTimeout(ctx, drillTime)
	defer cancel()
	bin, err := stage.FindBin()
	if err != nil {
		return Report{}, err
	}
	dir := o.Keep
	if dir == "" {
		if dir, err = os.MkdirTemp("", "telecart-drill-"); err != nil {
			return Report{}, fmt.Errorf("drill: %w", err)
		}
		defer func() {
			if err == nil {
				os.RemoveAll(dir)
			} else {
				fmt.Fprintln(o.Say, "drill: state and logs are kept in", dir)
			}
		}()
	} else if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return Report{}, fmt.Errorf("drill: %s is not empty: name a new folder", dir)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return Report{}, fmt.Errorf("drill: %w", err)
	}
	d := &drill{stage: &stage.Stage{Dir: dir, Bin: bin, Tenant: "north", Cart: "cart-1", Site: "Drill"}, say: o.Say, password: "drill-" + rand()}
	d.planted = [][]byte{[]byte("Quackenbush"), []byte("Zebulon"), []byte(plantedID), []byte("Otorrhoe"), []byte("oxygen-saturation"), []byte("pulse-rate"), []byte(plantedBirth)}
	err = d.play(ctx)
	d.close()
	if err != nil {
		return d.report, err
	}
	if err := d.check(dir); err != nil {
		return d.report, err
	}
	r = d.report
	if r.Lost > 0 || r.Duplicated > 0 || r.PlaintextHits > 0 || r.Delivered < r.Captured || r.ReceiptsVerified < r.Captured || r.Captured == 0 {
		return r, ErrBroken
	}
	return r, nil
}

func (d *drill) close() {
	if d.pic != nil {
		d.pic.close()
	}
	if d.nurse != nil {
		d.nurse.Close()
	}
	if d.doctor != nil {
		d.doctor.Close()
	}
	d.stage.Close()
	if d.link != nil {
		d.link.Close()
	}
}

func (d *drill) note(format string, args ...any) { fmt.Fprintf(d.say, "drill: "+format+"\n", args...) }

// play goes through the story.
func (d *drill) play(ctx context.Context) error {
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"hub and cart start, the cart enrols", d.enrol},
		{"the nurse scans the wristband", d.scan},
		{"a specialist asks, the nurse accepts, a picture comes", d.consult},
		{"the specialist steers", d.steer},
		{"every kind of item is captured", d.captureAll},
		{"the link is cut; capture goes on; the agent is killed and comes back", d.offline},
		{"the link is back; the picture comes by itself; receipts come", d.resume},
	} {
		d.note("%s", step.what)
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("drill: %s: %w", step.what, err)
		}
	}
	return d.write(ctx)
}

func (d *drill) enrol(ctx context.Context) error {
	s := d.stage
	var err error
	if d.link, err = stage.NewLink(s); err != nil {
		return err
	}
	if err := s.MakeHub(ctx, []stage.Account{{Name: "dr-okafor", Role: "specialist", Password: d.password}}); err != nil {
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
	if err := d.startCart(ctx, code); err != nil {
		return err
	}
	_, err = d.nurse.Await(ctx, "the link", func(b screen.Bedside) bool { return b.Link.State == "up" })
	return err
}

// startCart starts the agent and opens the nurse's screen.
func (d *drill) startCart(ctx context.Context, code string) error {
	if d.nurse != nil {
		d.nurse.Close()
	}
	page, err := d.stage.StartCart(ctx, code)
	if err != nil {
		return err
	}
	c := screen.Browser()
	resp, err := c.Get(page) // the kiosk's first address sets the cookie
	if err != nil {
		return err
	}
	resp.Body.Close()
	d.nurse, err = screen.Open[screen.Bedside](ctx, c, "ws://"+d.stage.Bedside+"/api/ws")
	return err
}

// capture gives a command that saves, and writes down what the nurse is told.
func (d *drill) capture(ctx context.Context, verb string, args map[string]any) error {
	var r struct {
		Items []oracle.Told `json:"items"`
	}
	var raw struct {
		Items []struct {
			Item   string `json:"item"`
			Kind   string `json:"kind"`
			SHA256 string `json:"sha256"`
		} `json:"items"`
	}
	err := d.nurse.Do(ctx, verb, args, &raw)
	for _, i := range raw.Items {
		r.Items = append(r.Items, oracle.Told{ID: i.Item, Kind: i.Kind, SHA256: i.SHA256, Told: time.Now().UTC()})
	}
	d.mu.Lock()
	d.told = append(d.told, r.Items...)
	d.mu.Unlock()
	return err
}

func (d *drill) scan(ctx context.Context) error {
	return d.capture(ctx, "scan", map[string]any{"code": plantedID + "|" + plantedName + "|" + plantedBirth})
}

func (d *drill) consult(ctx context.Context) error {
	d.doctorHC = screen.Browser()
	base := "http://" + d.stage.PeopleAddr()
	if err := signIn(ctx, d.doctorHC, base, "dr-okafor", d.password); err != nil {
		return err
	}
	var err error
	if d.doctor, err = screen.Open[console](ctx, d.doctorHC, "ws://"+d.stage.PeopleAddr()+"/v1/ws"); err != nil {
		return err
	}
	if _, err := d.doctor.Await(ctx, "the cart to be ready", func(c console) bool {
		return len(c.Carts) == 1 && c.Carts[0].State == "ready" && c.Carts[0].Encounter != nil
	}); err != nil {
		return err
	}
	var offer struct {
		Consult string `json:"consult"`
	}
	if err := d.doctor.Do(ctx, "offer", map[string]any{"cart": d.stage.Cart}, &offer); err != nil {
		return err
	}
	if _, err := d.nurse.Await(ctx, "the offer", func(b screen.Bedside) bool { return b.Consult != nil && b.Consult.Phase == "offered" }); err != nil {
		return err
	}
	touch := time.Now()
	if err := d.nurse.Do(ctx, "answer", map[string]any{"answer": "accept"}, nil); err != nil {
		return err
	}
	d.pic = watch(ctx, d.doctorHC, func(ctx context.Context) (string, string, error) {
		_, err := d.doctor.Await(ctx, "the stream", func(c console) bool {
			return len(c.Carts) == 1 && c.Carts[0].Consult != nil && c.Carts[0].Consult.Phase == "live" && len(c.Carts[0].Consult.Streams) > 0 &&
				c.Carts[0].Consult.Streams[0].Publishing
		})
		if err != nil {
			return "", "", err
		}
		var w struct {
			Endpoint string `json:"endpoint"`
			Token    string `json:"token"`
		}
		err = d.doctor.Do(ctx, "watch", map[string]any{"consult": offer.Consult, "instrument": otherCamera}, &w)
		if strings.HasPrefix(w.Endpoint, "/") {
			w.Endpoint = base + w.Endpoint
		}
		return w.Endpoint, w.Token, err
	})
	first, err := d.pic.await(ctx, func(seen) bool { return true })
	d.report.FirstFrameMS = first.at.Sub(touch).Milliseconds()
	return err
}

// steerTrials is how often the exposure is stepped between dark and bright.
const steerTrials = 20

func (d *drill) steer(ctx context.Context) error {
	if err := d.doctor.Do(ctx, "lease", map[string]any{"cart": d.stage.Cart, "instrument": otherCamera}, nil); err != nil {
		return err
	}
	low, high := 0, 0
	c, err := d.doctor.Await(ctx, "the lease, and an exposure to steer", func(c console) bool {
		for _, i := range c.Carts[0].Instruments {
			for _, a := range i.Axes {
				if i.Name == otherCamera && a.Name == "exposure" {
					low, high = a.Min+(a.Max-a.Min)/20, a.Min+(a.Max-a.Min)/3
				}
			}
		}
		return len(c.Carts[0].Leases) > 0 && c.Carts[0].Leases[0].Holder != "" && high > low
	})
	if err != nil {
		return err
	}
	epoch := c.Carts[0].Leases[0].Epoch
	seq := 0
	set := func(value int) error {
		seq++
		return d.doctor.Do(ctx, "steer", map[string]any{"cart": d.stage.Cart, "instrument": otherCamera, "epoch": epoch, "seq": seq,
			"set": map[string]int{"exposure-auto": 0, "exposure": value}}, nil)
	}
	// What dark and bright look like, to know the middle between them.
	settle := func(value int) (float64, error) {
		if err := set(value); err != nil {
			return 0, err
		}
		from := time.Now()
		s, err := d.pic.await(ctx, func(s seen) bool { return s.at.Sub(from) > 700*time.Millisecond })
		return s.luma, err
	}
	bright, err := settle(high)
	if err != nil {
		return err
	}
	dark, err := settle(low)
	if err != nil {
		return err
	}
	if bright-dark < 10 {
		return fmt.Errorf("the picture does not obey: brightness %.0f and %.0f", dark, bright)
	}
	var ms []int64
	for i := range steerTrials {
		up := i%2 == 0
		value := low
		if up {
			value = high
		}
		from := time.Now()
		if err := set(value); err != nil {
			return err
		}
		s, err := d.pic.await(ctx, func(s seen) bool { return s.at.After(from) && (s.luma > (dark+bright)/2) == up })
		if err != nil {
			return err
		}
		ms = append(ms, s.at.Sub(from).Milliseconds())
	}
	slices.Sort(ms)
	d.report.SteerMSP50, d.report.SteerMSP95 = ms[len(ms)/2], ms[len(ms)*95/100]
	return d.doctor.Do(ctx, "act", map[string]any{"cart": d.stage.Cart, "instrument": otherCamera, "epoch": epoch, "kind": "still"}, nil)
}

func (d *drill) captureAll(ctx context.Context) error {
	if _, err := d.nurse.Await(ctx, "a saturation", func(b screen.Bedside) bool { return b.Value("oximeter", "oxygen-saturation") != "" }); err != nil {
		return err
	}
	for _, c := range []struct {
		verb string
		args map[string]any
	}{
		{"reading", map[string]any{"instrument": "oximeter", "site": "finger", "side": "left"}},
		{"waveform", map[string]any{"instrument": "oximeter", "seconds": 5}},
		{"still", map[string]any{"instrument": otherCamera}},
		{"clip", map[string]any{"instrument": otherCamera, "seconds": 2}},
		{"note", map[string]any{"text": plantedNote}},
	} {
		if err := d.capture(ctx, c.verb, c.args); err != nil {
			return err
		}
	}
	d.mu.Lock()
	i := slices.IndexFunc(d.told, func(t oracle.Told) bool { return t.Kind == "still" })
	d.mu.Unlock()
	return d.capture(ctx, "correct", map[string]any{"item": d.told[i].ID, "reason": "wrong-side", "side": "right"})
}

// offlineFor is how long the link is cut at least.
const offlineFor = 6 * time.Second

func (d *drill) offline(ctx context.Context) error {
	if err := d.plantPicture(ctx); err != nil {
		return err
	}
	cut := time.Now()
	d.link.Cut(true)
	if _, err := d.nurse.Await(ctx, "the screen to say that the link is down", func(b screen.Bedside) bool { return b.Link.State == "down" }); err != nil {
		return err
	}
	for range 3 {
		for verb, args := range map[string]map[string]any{"still": {"instrument": otherCamera}, "note": {"text": plantedNote}, "reading": {"instrument": "oximeter"}} {
			if err := d.capture(ctx, verb, args); err != nil {
				return err
			}
		}
	}
	d.killWhileCapturing(ctx)
	if err := d.startCart(ctx, ""); err != nil {
		return err
	}
	b, err := d.nurse.Await(ctx, "the encounter to go on", func(b screen.Bedside) bool { return b.Encounter != nil })
	if err != nil {
		return err
	}
	if !b.Encounter.Restored || b.Patient != nil {
		return errors.New("after the restart the encounter should go on without a name until the wristband is scanned")
	}
	if err := d.scan(ctx); err != nil {
		return err
	}
	if err := d.capture(ctx, "still", map[string]any{"instrument": otherCamera}); err != nil {
		return err
	}
	if b, err = d.nurse.Await(ctx, "held items", func(b screen.Bedside) bool { return b.Held > 0 }); err != nil {
		return err
	}
	d.note("%d held while the link is down", b.Held)
	if left := offlineFor - time.Since(cut); left > 0 {
		select {
		case <-time.After(left):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	d.report.OfflineS = time.Since(cut).Seconds()
	return nil
}

// killWhileCapturing captures in three loops at once and kills the agent in the middle of it.
func (d *drill) killWhileCapturing(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	saves := make(chan struct{}, 1000)
	var wg sync.WaitGroup
	for verb, args := range map[string]map[string]any{"still": {"instrument": otherCamera}, "note": {"text": plantedNote}, "reading": {"instrument": "oximeter"}} {
		wg.Go(func() {
			for range cap(saves) / 3 {
				if err := d.capture(ctx, verb, args); err != nil && errors.Is(err, screen.ErrGone) || ctx.Err() != nil {
					return
				}
				saves <- struct{}{}
			}
		})
	}
	for range 12 {
		select {
		case <-saves:
		case <-ctx.Done():
		}
	}
	d.stage.KillCart()
	d.report.AgentKills++
	wg.Wait()
}

// plantPicture notes the first bytes of a still as the camera gave it: they must not lie on the cart's disk.
func (d *drill) plantPicture(ctx context.Context) error {
	d.mu.Lock()
	i := slices.IndexFunc(d.told, func(t oracle.Told) bool { return t.Kind == "still" })
	id := d.told[i].ID
	d.mu.Unlock()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.stage.Bedside+"/api/review/"+id, nil)
	if err != nil {
		return err
	}
	resp, err := d.nurse.HTTP.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || len(b) < 1000 || b[0] != 0xff || b[1] != 0xd8 {
		return fmt.Errorf("the nurse can't look at her picture again: %d bytes, %v", len(b), err)
	}
	// Every JPEG of this camera begins like this; the middle is this very picture.
	d.planted = append(d.planted, b[2:26], b[len(b)/2:len(b)/2+16])
	return nil
}

func (d *drill) resume(ctx context.Context) error {
	back := time.Now()
	d.link.Cut(false)
	s, err := d.pic.await(ctx, func(s seen) bool { return s.at.After(back) })
	if err != nil {
		return err
	}
	d.report.ResumeMS = s.at.Sub(back).Milliseconds()
	if _, err := d.nurse.Await(ctx, "every receipt", func(b screen.Bedside) bool { return b.Held == 0 && b.Link.State == "up" }); err != nil {
		return err
	}
	return d.capture(ctx, "close", nil)
}

// write keeps what the nurse was told, for anybody to check.
func (d *drill) write(ctx context.Context) error {
	after := time.Now()
	if _, err := d.nurse.Await(ctx, "the last receipt", func(b screen.Bedside) bool { return b.Now.After(after) && b.Held == 0 }); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(d.stage.Dir, "captured.jsonl"))
	if err != nil {
		return err
	}
	e := json.NewEncoder(f)
	for _, t := range d.told {
		if err := e.Encode(t); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return f.Close()
}
