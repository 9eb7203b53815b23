package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// scanMemory is the argument with which this test's own program is started again, as root, to read another process's memory.
const scanMemory = "scan-memory"

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == scanMemory {
		if err := scanMain(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// search says what to look for, by name, and where.
type search struct {
	PID     int               `json:"pid"`
	Needles map[string][]byte `json:"needles"`
}

// found says in which mappings each was, how many bytes were read, and which files the process has open.
type found struct {
	Hits  map[string][]string `json:"hits"`
	Bytes int64               `json:"bytes"`
	Files []string            `json:"files"`
}

// scan reads all of a process's memory. The agent is not dumpable, so that takes CAP_SYS_PTRACE: root, through sudo if need be, as
// .ci/setup does.
func scan(ctx context.Context, t *testing.T, s search) found {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{self, scanMemory}
	if os.Geteuid() != 0 {
		args = append([]string{"sudo", "-n"}, args...)
	}
	in, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("reading the agent's memory takes root, or sudo without a password: %v", err)
	}
	var f found
	if err := json.Unmarshal(out, &f); err != nil || f.Bytes == 0 {
		t.Fatalf("%v, %d bytes read", err, f.Bytes)
	}
	return f
}

func scanMain(in io.Reader, out io.Writer) error {
	var s search
	if err := json.NewDecoder(in).Decode(&s); err != nil {
		return err
	}
	proc := filepath.Join("/proc", strconv.Itoa(s.PID))
	maps, err := os.Open(filepath.Join(proc, "maps"))
	if err != nil {
		return err
	}
	defer maps.Close()
	mem, err := os.Open(filepath.Join(proc, "mem"))
	if err != nil {
		return err
	}
	defer mem.Close()
	f := found{Hits: map[string][]string{}}
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		if err := f.mapping(mem, lines.Text(), s.Needles); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	fds, err := os.ReadDir(filepath.Join(proc, "fd"))
	if err != nil {
		return err
	}
	for _, fd := range fds {
		if to, err := os.Readlink(filepath.Join(proc, "fd", fd.Name())); err == nil && strings.HasPrefix(to, "/") {
			f.Files = append(f.Files, to)
		}
	}
	return json.NewEncoder(out).Encode(f)
}

// mapping searches one line of /proc/PID/maps (proc_pid_maps(5)): from-to permissions offset device inode path.
func (f *found) mapping(mem *os.File, line string, needles map[string][]byte) error {
	w := strings.Fields(line)
	var from, to int64
	if _, err := fmt.Sscanf(w[0], "%x-%x", &from, &to); err != nil && !strings.Contains(w[0], "ffffffffff") {
		return fmt.Errorf("%s: %w", line, err)
	}
	if len(w) < 5 || w[1][0] != 'r' || strings.HasPrefix(line, "ffffffffff") {
		return nil // not readable, or the vsyscall page, which is the kernel's
	}
	name := "anonymous"
	if len(w) > 5 {
		name = w[5]
	}
	most := 0
	for _, n := range needles {
		most = max(most, len(n))
	}
	buf := make([]byte, 1<<20)
	for at := from; at < to; {
		n, err := mem.ReadAt(buf[:min(int64(len(buf)), to-at)], at)
		if n == 0 {
			if strings.HasPrefix(name, "[v") || err == nil || errors.Is(err, io.EOF) || name != "anonymous" {
				return nil // [vvar] is the kernel's; a file may be shorter than its mapping
			}
			return fmt.Errorf("%s: %w", line, err)
		}
		f.Bytes += int64(n)
		for what, needle := range needles {
			for i := 0; ; {
				j := bytes.Index(buf[i:n], needle)
				if j < 0 {
					break
				}
				i += j + len(needle)
				if hits := f.Hits[what]; len(hits) < 20 {
					f.Hits[what] = append(hits, fmt.Sprintf("%s %s %x", name, w[1], at+int64(i-len(needle))))
				}
			}
		}
		if at += int64(n); at < to && n > most {
			at -= int64(most - 1) // one may lie across the border
		}
	}
	return nil
}
