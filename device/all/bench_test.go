package all

import (
	"context"
	"slices"
	"syscall"
	"testing"
	"time"

	"telecart/device"
	"telecart/device/kit"
	"telecart/device/supervisor"
)

const (
	settleFor = time.Second
	aloneFor  = 5 * time.Second
	setFor    = 15 * time.Second
)

// spent is the processor time that this process has used, the kernel's for it included (getrusage(2)).
func spent(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// work runs the drivers on their twins, at work: cuffs inflate, stethoscopes are listened to. It gives the processor time that
// they and their twins take, in percent of one core, and what each is asked for comes out of a subscription as on the cart.
func work(b *testing.B, drivers []device.Driver, during time.Duration) float64 {
	sup := supervisor.New(supervisor.Options{Drivers: drivers, Clock: kit.System{}})
	for _, d := range drivers {
		if err := sup.Add(device.Settings{Name: d.Name, Driver: d.Name, Port: "twin"}); err != nil {
			b.Fatal(err)
		}
	}
	events := sup.Subscribe(1024)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- sup.Run(ctx) }()
	go func() {
		for range events.C {
		}
	}()
	<-time.After(settleFor) // real time is what is measured
	for _, d := range drivers {
		if m, ok := sup.Microphone(d.Name); ok {
			ear := m.Listen()
			defer ear.Close()
			go func() {
				for _, err := ear.Next(ctx); err == nil; _, err = ear.Next(ctx) {
				}
			}()
		}
		if c, ok := sup.Triggerable(d.Name); ok {
			if err := c.Start(ctx, c.Modes()[0]); err != nil {
				b.Errorf("%s: %v", d.Name, err)
			}
		}
	}
	before, at := spent(b), time.Now()
	<-time.After(during)
	percent := 100 * (spent(b) - before).Seconds() / time.Since(at).Seconds()
	for _, s := range sup.Snapshot() {
		if s.Restarts > 0 || s.Health.State != device.Live && s.Health.State != device.Settling {
			b.Errorf("%s was not at work: %v, %d restarts, %s", s.Name, s.Health, s.Restarts, s.LastError)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		b.Error(err)
	}
	return percent
}

// BenchmarkInstruments gives what all instruments but cameras take together, in one process, and each alone. A twin takes its share
// too, which on a cart it doesn't: the figures are more than a cart needs.
//
//	instruments_cpu_pct  all together, percent of one core over 15 s
//	cpu_pct_NAME         one alone, with the supervisor, over 5 s
func BenchmarkInstruments(b *testing.B) {
	set := slices.DeleteFunc(Table(), func(d device.Driver) bool { return d.Kind == device.KindCamera })
	for b.Loop() {
		b.ReportMetric(work(b, set, setFor), "instruments_cpu_pct")
		for _, d := range set {
			b.ReportMetric(work(b, []device.Driver{d}, aloneFor), "cpu_pct_"+d.Name)
		}
	}
}
