package bench

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// measure is what one name means.
type measure struct {
	name, unit string  // a name that ends in * is a family: one figure for each of something
	against    string  // the limit or the peer
	limit      float64 // in unit; 0: the value is itself the ratio to a peer
	goal       goal    // for the ratio
	bound      float64
}

type goal int

const (
	told goal = iota // nothing was promised
	atMost
	atLeast
)

// The agent's own names; every other one comes out of a benchmark.
const (
	agentIdleMB  = "agent_idle_mb"
	agentIdleCPU = "agent_idle_cpu_pct"
	agentStart   = "agent_start_ms"
	agentReady   = "agent_ready_ms"
)

var agentNames = [...]string{agentIdleMB, agentIdleCPU, agentStart, agentReady}

// table has every name there is. A new benchmark is one line here; a new instrument is none.
var table = [...]measure{
	{agentIdleMB, "MB", "limit 60 MB", 60, atMost, 1},
	{agentIdleCPU, "% of one core", "limit 10 %", 10, atMost, 1},
	{agentStart, "ms", "limit 1000 ms", 1000, atMost, 1},
	{agentReady, "ms", "limit 1000 ms", 1000, told, 0},

	{"live_p50_ms", "ms", "limit 300 ms glass to glass", 300, atMost, 1},
	{"live_p99_ms", "ms", "limit 300 ms glass to glass", 300, atMost, 1},
	{"live_cpu_720p30", "s of processor / s of video", "one core", 1, atMost, 1},
	{"live_cpu_vs_encoder", "x", "openh264 alone, same frames", 0, told, 0},
	{"live_kbps", "kbit/s", "", 0, told, 0},
	{"live_fps", "frames/s", "30 frames/s offered", 30, told, 0},
	{"live_cpu_passthrough", "s of processor / s of video", "0.02 of one core", 0.02, atMost, 1},
	{"live_passthrough_vs_udp", "x", "a bare UDP socket, same packets", 0, told, 0},
	{"step_down_ms", "ms", "limit 1000 ms, 2 Mb/s to 300 kb/s", 1000, atMost, 1},
	{"step_down_queue_ms", "ms", "limit 300 ms", 300, atMost, 1},
	{"step_up_ms", "ms", "limit 10 s, 300 kb/s to 2 Mb/s", 10_000, atMost, 1},
	{"lossy_fps", "frames/s", "25 decoded, 5 % loss at 2 Mb/s", 25, atLeast, 1},
	{"lossy_max_freeze_ms", "ms", "limit 500 ms", 500, atMost, 1},
	{"voice_added_ms", "ms", "limit 150 ms above the link (100 kb/s, 600 ms, 2 % loss), a still beside it", 150, atMost, 1},
	{"voice_max_gap_ms", "ms", "limit 200 ms, of every burst of the twin", 200, atMost, 1},
	{"voice_kbps", "kbit/s", "20 kb/s on the wire, the most in 3 s", 20, atMost, 1},
	{"voice_alone_added_ms", "ms", "", 0, told, 0},
	{"voice_alone_max_gap_ms", "ms", "", 0, told, 0},
	{"voice_alone_kbps", "kbit/s", "", 0, told, 0},
	{"mjpeg_vs_std", "x", "image/jpeg and a scaler in Go, 1080p to 720p", 0, atLeast, 3},
	{"mjpeg_ms", "ms", "", 0, told, 0},

	{"outbox_vs_bbolt_w1", "x", "bbolt, 1 transaction per value", 0, atLeast, 1},
	{"outbox_vs_disk_w1", "x", "append + fdatasync, same disk", 0, atLeast, 0.7},
	{"outbox_vs_bbolt_w8", "x", "bbolt, groups of 8", 0, atLeast, 1},
	{"outbox_vs_bbolt_w64", "x", "bbolt, groups of 64", 0, atLeast, 1},
	{"outbox_vs_single_tx_w8", "x", "bbolt, 8 writers, 1 transaction per value", 0, atLeast, 5},
	{"outbox_puts_w1", "puts/s", "", 0, told, 0},
	{"outbox_puts_w8", "puts/s", "", 0, told, 0},
	{"outbox_puts_w64", "puts/s", "", 0, told, 0},
	{"bbolt_puts_w8", "puts/s", "", 0, told, 0},
	{"bbolt_puts_w64", "puts/s", "", 0, told, 0},
	{"space_ratio", "x", "1.25 of the payload, a clinic's week offline", 1.25, atMost, 1},
	{"space_payload_mb", "MB", "", 0, told, 0},
	{"start_ms_100k", "ms", "limit 1000 ms, 100,000 items waiting", 1000, atMost, 1},
	{"loaded_ms_100k", "ms", "", 0, told, 0},
	{"mem_mb_100k", "MB", "limit 20 MB more, 100,000 items waiting", 20, atMost, 1},
	{"bbolt_puts_w1", "puts/s", "", 0, told, 0},
	{"disk_appends_w1", "writes/s", "", 0, told, 0},
	{"disk_overwrites_w1", "writes/s", "", 0, told, 0},

	{"seal_vs_aead", "x", "ChaCha20-Poly1305 alone", 0, told, 0},
	{"seal_mb_per_s", "MB/s", "", 0, told, 0},

	{"instruments_cpu_pct", "% of one core", "limit 25 %, all but cameras, with their twins", 25, atMost, 1},
	{"cpu_pct_*", "% of one core", "", 0, told, 0},
}

// find gives the line of a figure: of a family's, not of the family.
func find(name string) (measure, bool) {
	for _, m := range table {
		prefix, family := strings.CutSuffix(m.name, "*")
		member := family && strings.HasPrefix(name, prefix) && len(name) > len(prefix) && !strings.HasSuffix(name, "*")
		if member || m.name == name && !family {
			return m, true
		}
	}
	return measure{}, false
}

func names() []string {
	var out []string
	for _, m := range table {
		out = append(out, m.name)
	}
	return out
}

// members are the names among those that a name of the table stands for: itself, or those of its family, if there are any.
func members[V any](name string, among map[string]V) []string {
	prefix, family := strings.CutSuffix(name, "*")
	if !family {
		return []string{name}
	}
	all := slices.DeleteFunc(slices.Sorted(maps.Keys(among)), func(n string) bool { return !strings.HasPrefix(n, prefix) })
	if len(all) == 0 {
		return []string{name}
	}
	return all
}

func (m measure) figure(v float64) Figure {
	f := Figure{Value: v, Unit: m.unit, Against: m.against}
	switch {
	case m.limit != 0:
		f.Ratio = v / m.limit
	case m.against != "":
		f.Ratio = v
	}
	return f
}

// verdict says in words what the ratio should be, and whether it is.
func (m measure) verdict(ratio float64) string {
	switch {
	case m.goal == told:
		return ""
	case m.goal == atMost && ratio <= m.bound:
		return fmt.Sprintf("<= %.2g, met", m.bound)
	case m.goal == atMost:
		return fmt.Sprintf("<= %.2g, MISSED", m.bound)
	case ratio >= m.bound:
		return fmt.Sprintf(">= %.2g, met", m.bound)
	default:
		return fmt.Sprintf(">= %.2g, MISSED", m.bound)
	}
}
