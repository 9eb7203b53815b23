package swap

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"
)

const heading = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"

func TestCheck(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	for name, c := range map[string]struct {
		swaps string
		sys   fstest.MapFS
		bad   string // what is named; "": nothing
	}{
		"none":                     {swaps: heading},
		"a partition":              {swaps: heading + "/dev/sda2 partition 8388604 0 -2\n", bad: `"/dev/sda2"`},
		"a file":                   {swaps: heading + "/swap\\040file                             file\t\t2097148\t\t0\t\t-2\n", bad: `"/swap\\040file"`},
		"zram":                     {swaps: heading + "/dev/zram0 partition 1 0 100\n"},
		"zram, no backing device":  {swaps: heading + "/dev/zram0 partition 1 0 100\n", sys: fstest.MapFS{"sys/block/zram0/backing_dev": file("none\n")}},
		"zram that writes to disk": {swaps: heading + "/dev/zram0 partition 1 0 100\n", sys: fstest.MapFS{"sys/block/zram0/backing_dev": file("/dev/sda3\n")}, bad: `"/dev/zram0"`},
		"dm-crypt":                 {swaps: heading + "/dev/dm-1 partition 1 0 -2\n", sys: fstest.MapFS{"sys/block/dm-1/dm/uuid": file("CRYPT-PLAIN-swap\n")}},
		"a logical volume":         {swaps: heading + "/dev/dm-1 partition 1 0 -2\n", sys: fstest.MapFS{"sys/block/dm-1/dm/uuid": file("LVM-abc\n")}, bad: `"/dev/dm-1"`},
		"a mapped device unknown":  {swaps: heading + "/dev/dm-1 partition 1 0 -2\n", bad: `"/dev/dm-1"`},
		"a file named like zram":   {swaps: heading + "/dev/x/zram0 file 1 0 -2\n", bad: `"/dev/x/zram0"`},
		"one of two":               {swaps: heading + "/dev/zram0 partition 1 0 100\n/dev/vdb partition 1 0 -2\n", bad: `"/dev/vdb"`},
	} {
		root := fstest.MapFS{"proc/swaps": file(c.swaps)}
		for p, f := range c.sys {
			root[p] = f
		}
		err := Check(root)
		if c.bad == "" && err != nil || c.bad != "" && (!errors.Is(err, ErrReadable) || !strings.Contains(err.Error(), ": "+c.bad+";")) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Check(fstest.MapFS{}); err != nil {
		t.Errorf("a kernel without swap: %v", err)
	}
}

func FuzzCheck(f *testing.F) {
	f.Add(heading + "/dev/sda2 partition 8388604 0 -2\n")
	f.Add(heading + "/dev/zram0 partition 1 0 100\n/dev/dm-0 partition 1 0 -2\n")
	f.Fuzz(func(t *testing.T, swaps string) {
		areas := 0
		_, rest, _ := strings.Cut(swaps, "\n")
		for _, l := range strings.Split(rest, "\n") {
			if l = strings.TrimSpace(l); l != "" && !strings.HasPrefix(l, "/dev/zram") {
				areas++
			}
		}
		if got := readable(fstest.MapFS{}, swaps); len(got) < areas {
			t.Fatalf("%d areas named, at least %d there", len(got), areas)
		}
	})
}
