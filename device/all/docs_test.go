package all

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/BurntSushi/toml"
	"periph.io/x/conn/v3/i2c"

	"telecart/device"
	"telecart/device/bus"
	"telecart/device/bus/simbus"
)

// What people read of instruments; this package's tests hold it to the table.
const (
	docs   = "../README.md"
	sample = "../../cmd/telecartd/telecartd.toml"
	table  = "all.go"
)

func text(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// row is a driver's in the README.
type row struct {
	driver string
	port   string // which ports it has, and which options
	grade  string
	tested string
}

var (
	rowForm  = regexp.MustCompile(`(?m)^\| \[([a-z0-9]+)\]\(([a-z0-9]+)\) \|[^|]*\|([^|]*)\|([^|]*)\|([^|]*)\|[^|]*\|$`)
	addrForm = regexp.MustCompile(`(?m)^\| (0x[0-9A-F]{2}) \|(.*)$`)
	portForm = regexp.MustCompile("`((?:default|/|hw:|usb:|usb-port:)[^`]*)`")
	fileForm = regexp.MustCompile("(?m)^\\[[^]]*\\]\\(([^)]+)\\):\n\n```[a-z]*\n((?s:.*?))```$")
)

func (r row) ports() (all []string) {
	for _, m := range portForm.FindAllStringSubmatch(r.port, -1) {
		all = append(all, m[1])
	}
	return all
}

type page struct {
	text string
	rows []row
}

func readme(t *testing.T) (p page) {
	p.text = text(t, docs)
	for _, m := range rowForm.FindAllStringSubmatch(p.text, -1) {
		if m[1] != m[2] {
			t.Errorf("%s: the row of %s links to %s", docs, m[1], m[2])
		}
		p.rows = append(p.rows, row{driver: m[1], port: m[3], grade: strings.TrimSpace(m[4]), tested: m[5]})
	}
	return p
}

func TestREADME(t *testing.T) {
	rows := map[string]row{}
	for _, r := range readme(t).rows {
		if _, known := driver(r.driver); !known || rows[r.driver].driver != "" {
			t.Errorf("%s: the row of %q: there is no such driver in %s, or it has two rows", docs, r.driver, table)
		}
		rows[r.driver] = r
	}
	for _, d := range Table() {
		r, ok := rows[d.Name]
		if !ok {
			t.Errorf("%s has no row | [%s](%s) | what | ports; options | grade | tested on | not confirmed |", docs, d.Name, d.Name)
			continue
		}
		if r.grade != string(d.Grade) && !(d.Grade == "" && r.grade == "-") {
			t.Errorf("%s: the row of %s says grade %q, its driver %q (none: -)", docs, d.Name, r.grade, d.Grade)
		}
		for _, o := range options(t, d) {
			if !strings.Contains(r.port, "`"+o+"`") {
				t.Errorf("%s: the row of %s does not name the option `%s`", docs, d.Name, o)
			}
		}
		if says, is := strings.Contains(r.tested, "lab"), inLab(t, d.Name); says != is {
			t.Errorf("%s: the row of %s says that the lab has it: %t, but device/lab/guest imports it: %t", docs, d.Name, says, is)
		}
		if len(r.ports()) == 0 {
			t.Errorf("%s: the row of %s names no port", docs, d.Name)
		}
		for _, port := range r.ports() {
			if _, err := d.New(settings(d, port), deaf{}); err != nil {
				t.Errorf("%s: the row of %s has the port %s: %v", docs, d.Name, port, err)
			}
		}
	}
}

// inLab says whether the lab's guest uses a driver.
func inLab(t *testing.T, name string) bool {
	files, err := filepath.Glob("../lab/guest/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal("no lab: ", err)
	}
	return slices.ContainsFunc(files, func(f string) bool { return strings.Contains(text(t, f), `"telecart/device/`+name+`"`) })
}

// The README shows files as they are, and of the table the lines that were added.
func TestREADMEShowsFiles(t *testing.T) {
	var shown []string
	lines := 0
	for _, m := range fileForm.FindAllStringSubmatch(readme(t).text, -1) {
		file, block := m[1], m[2]
		whole := text(t, "../"+file)
		shown, lines = append(shown, file), lines+strings.Count(block, "\n")
		if file != "all/"+table && whole != block {
			t.Errorf("%s shows another %s than there is: copy the file into the block", docs, file)
		}
		for line := range strings.Lines(block) {
			if !strings.Contains(whole, line) {
				t.Errorf("%s: %s has no line %q", docs, file, line)
			}
		}
	}
	if len(shown) != 3 || lines >= 100 {
		t.Errorf("%s shows %q, %d lines: it promises a driver, its test and the table, in under 100", docs, shown, lines)
	}
}

// deafBus has no chip; it knows who was called.
type deafBus struct {
	simbus.Bus
	mu     sync.Mutex
	called []uint16
}

func (b *deafBus) Tx(addr uint16, w, r []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.called = append(b.called, addr)
	return b.Bus.Tx(addr, w, r)
}

// address is where a driver looks for its chip by itself; 0: it is not on I2C.
func address(d device.Driver) uint16 {
	b := &deafBus{}
	s := settings(d, "/dev/i2c-4000") // that no machine has: a serial driver may take it for its port
	s.Buses = bus.Simulated(func(string) (i2c.BusCloser, error) { return b, nil })
	inst, err := d.New(s, deaf{})
	if err != nil {
		return 0
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	_ = inst.Run(ctx) // nobody acknowledges
	if len(b.called) == 0 {
		return 0
	}
	return b.called[0]
}

func TestREADMEMapsAddresses(t *testing.T) {
	place := map[string]string{}
	for _, m := range addrForm.FindAllStringSubmatch(readme(t).text, -1) {
		if place[m[1]] != "" {
			t.Errorf("%s has two rows for address %s", docs, m[1])
		}
		place[m[1]] = m[2]
	}
	for _, d := range Table() {
		a := address(d)
		if a != 0 && !regexp.MustCompile(`\b`+d.Name+`\b`).MatchString(place[fmt.Sprintf("0x%02X", a)]) {
			t.Errorf("%s: the map of addresses has no %s at 0x%02X, where it is by itself", docs, d.Name, a)
		}
	}
}

// instruments of the sample settings: those that are active, and those that wait behind a # (without a blank: text has one).
func instruments(t *testing.T) (all []device.Settings, active int) {
	var file, whole struct {
		Instrument []device.Settings `toml:"instrument"`
	}
	raw := text(t, sample)
	if _, err := toml.Decode(raw, &file); err != nil {
		t.Fatal(err)
	}
	if _, err := toml.Decode(regexp.MustCompile(`(?m)^#([^\s#])`).ReplaceAllString(raw, "$1"), &whole); err != nil {
		t.Fatalf("%s, with what stands behind a # in it: %v", sample, err)
	}
	return whole.Instrument, len(file.Instrument)
}

func TestSample(t *testing.T) {
	beside := map[string]string{} // the paragraph that shows a driver
	for _, paragraph := range strings.Split(text(t, sample), "\n\n") {
		if m := regexp.MustCompile(`(?m)^#?driver = "(.*)"$`).FindStringSubmatch(paragraph); m != nil {
			beside[m[1]] = paragraph
		}
	}
	all, active := instruments(t)
	if active == 0 || active == len(all) {
		t.Errorf("%s: %d of %d instruments are active: a few should be", sample, active, len(all))
	}
	names, shown := map[string]bool{}, map[string]string{}
	for _, s := range all {
		d, known := driver(s.Driver)
		if !known || names[s.Name] || shown[s.Driver] != "" {
			t.Errorf("%s: instrument %q: driver %q is not in %s, or comes twice, or so does the name", sample, s.Name, s.Driver, table)
			continue
		}
		names[s.Name], shown[s.Driver] = true, s.Name
		made := settings(d, s.Port)
		made.Name, made.Address, made.Mux, made.Options = s.Name, s.Address, s.Mux, s.Options
		if _, err := d.New(made, deaf{}); err != nil {
			t.Errorf("%s: instrument %q: %v", sample, s.Name, err)
		}
	}
	for _, d := range Table() {
		if shown[d.Name] == "" {
			t.Errorf("%s has no [[instrument]] with driver = %q: show one, behind # if it isn't to be active", sample, d.Name)
			continue
		}
		for _, o := range options(t, d) {
			if !regexp.MustCompile(`\b` + o + ` = "`).MatchString(beside[d.Name]) {
				t.Errorf("%s: what stands at %q does not show the option %s of %s", sample, shown[d.Name], o, d.Name)
			}
		}
	}
}
