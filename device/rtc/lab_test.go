//go:build lab

package rtc

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"telecart/device/kit"
)

// On a real kernel's clock. To be run in the lab's machine, which has a PC's:
//
//	go test -c -tags lab -o /tmp/rtc.test ./device/rtc
//	device/lab/labvm -- /tmp/rtc.test -test.v -test.run Lab
func TestLabClock(t *testing.T) {
	exec.Command("modprobe", "rtc_cmos").Run() // there already, where it is built in
	s, err := Read("/dev/rtc0")
	if off := time.Since(s.Shows).Abs(); err != nil || !s.Set() || off > time.Minute {
		t.Fatalf("%+v, %s off, %v", s, off, err)
	}
	held, err := openKernel("/dev/rtc0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Read("/dev/rtc0"); !errors.Is(err, ErrBusy) {
		t.Errorf("held by another: %v", err)
	}
	held.Close()
	ctx, cancel := context.WithCancel(t.Context())
	out := &story{heard: func(line string) {
		t.Log(line)
		if line == "live" {
			cancel()
		} else if strings.HasPrefix(line, "faulty") {
			t.Error(line)
			cancel()
		}
	}}
	inst, err := Driver().New(settings("/dev/rtc0", kit.System{}), out)
	if err != nil {
		t.Fatal(err)
	}
	if err := inst.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
