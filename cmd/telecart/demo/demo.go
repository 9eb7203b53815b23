// Package demo shows telecart to somebody who has just cloned it: a hub and one cart of twins on loopback, enrolled, both
// addresses and the sign-in printed, and a switch for the link.
package demo

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"telecart/cmd/telecart/stage"
	"telecart/device/scanner"
	"telecart/uplink/seal/swap"
)

// Options of the demo.
type Options struct {
	Dir, Camera, Bedside, Console string
	HTTPSOnly                     bool // nothing but HTTPS gets out of the clinic, and that through a proxy
	Out                           io.Writer
}

// Accounts of the demo. The password is drawn each time.
var accounts = [...][2]string{{"dr-okafor", "specialist"}, {"it", "it"}}

// Run serves until ctx ends. Typing "cut" and "restore" pulls and plugs the cart's link.
func Run(ctx context.Context, o Options) (err error) {
	bin, err := stage.FindBin()
	if err != nil {
		return err
	}
	dir := o.Dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "telecart-demo-"); err != nil {
			return fmt.Errorf("demo: %w", err)
		}
		defer func() {
			if err == nil {
				os.RemoveAll(dir)
			} else {
				fmt.Fprintln(o.Out, "state and logs are kept in", dir)
			}
		}()
	}
	s := &stage.Stage{Dir: dir, Bin: bin, Tenant: "north", Cart: "cart-1", Site: "Demo clinic", Camera: o.Camera, Bedside: o.Bedside}
	s.Hub.People = o.Console
	reader, err := scanner.NewSerialTwin()
	if err != nil {
		return err
	}
	defer reader.Unplug()
	s.More = []stage.Twin{
		{Name: "cuff", Driver: "suntech"}, {Name: "ecg", Driver: "ad8232"}, {Name: "stethoscope", Driver: "stethoscope"},
		{Name: "voice", Driver: "voice", Options: map[string]string{"record": filepath.Join(dir, "loudspeaker.wav")}},
		{Name: "scale", Driver: "scale"}, {Name: "scanner", Driver: "scanner", Port: reader.Port()},
		{Name: "light", Driver: "light"}, {Name: "battery", Driver: "max17048"}}
	link, err := stage.NewLink(s)
	if err != nil {
		return err
	}
	defer link.Close()
	if o.HTTPSOnly {
		proxy, err := stage.NewProxy(s.Hub.Public)
		if err != nil {
			return err
		}
		defer proxy.Close()
		s.Proxy, s.Hub.Media, s.Hub.MediaPublic = proxy.URL(), "none", ""
	}
	defer s.Close()
	var b [5]byte
	rand.Read(b[:])
	password := "demo-" + hex.EncodeToString(b[:])
	var people []stage.Account
	for _, a := range accounts {
		people = append(people, stage.Account{Name: a[0], Role: a[1], Password: password})
	}
	if err := s.MakeHub(ctx, people); err != nil {
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
	page, err := s.StartCart(ctx, code)
	if err != nil {
		return err
	}
	if err := swap.Check(os.DirFS("/")); err != nil {
		fmt.Fprintf(o.Out, "\nwarning: %v\nA real cart does not start like that. Enter nobody's real data here.\n", err)
	}
	fmt.Fprintf(o.Out, `
telecart is running. Open both in a browser, side by side:

  the nurse's cart        %s
  the specialist          http://%s
                          sign in as %s (or %s) with %s
  figures                 http://%s/metrics (cart), http://%s/metrics (hub)

Things to try: scan the wristband "MRN-1001|Ada Bell|2019-05-17" (type it under Patient), call or join, steer the camera,
take a picture. Then type here:  cut      pull the cart's link, and go on examining
                                 restore  plug it in again, and see every item arrive with its receipt
                                 kill     kill the agent like a power cut, and start it again
                                 scan C   the cart's scanner reads the code C
Ctrl-C ends it. State and logs: %s

`, page, s.PeopleAddr(), accounts[0][0], accounts[1][0], password, s.CartMetrics, s.Hub.Metrics, dir)
	return serve(ctx, o, s, link, reader)
}

func serve(ctx context.Context, o Options, s *stage.Stage, link *stage.Link, reader *scanner.SerialTwin) error {
	lines := make(chan string)
	go func() {
		in := bufio.NewScanner(os.Stdin)
		for in.Scan() {
			lines <- strings.TrimSpace(in.Text())
		}
	}()
	ended := s.Ended()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ended:
			return errors.New("demo: one of the two programs ended; see the logs")
		case l := <-lines:
			if code, ok := strings.CutPrefix(l, "scan "); ok {
				reader.Scan(code)
				continue
			}
			switch l {
			case "cut", "restore":
				link.Cut(l == "cut")
				fmt.Fprintln(o.Out, "link:", l)
			case "kill":
				s.KillCart()
				page, err := s.StartCart(ctx, "")
				if err != nil {
					return err
				}
				ended = s.Ended()
				fmt.Fprintln(o.Out, "the agent runs again:", page)
			case "":
			default:
				fmt.Fprintln(o.Out, "type cut, restore, kill, or scan and a code; Ctrl-C ends")
			}
		}
	}
}
