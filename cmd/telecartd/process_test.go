package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"telecart/cmd/telecartd/agent"
	"telecart/uplink/seal/swap"
)

// nobody is the user as whom agent and reader run when the test itself is root: only two of the same user show that it is not
// the user that keeps them apart (ptrace(2), "Ptrace access mode checking").
const nobody = 65534

// ordinary makes a command one of an ordinary user's, without capabilities.
func ordinary(cmd *exec.Cmd) *exec.Cmd {
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody, NoSetGroups: true}}
	}
	return cmd
}

// reads tries to open a process's memory, and to read its address 0: that is "Input/output error" if it may.
func reads(ctx context.Context, pid int) string {
	out, err := ordinary(exec.CommandContext(ctx, "head", "-c", "1", fmt.Sprintf("/proc/%d/mem", pid))).CombinedOutput()
	if err == nil {
		return "read"
	}
	return string(out)
}

// Nobody but root gets at the agent's memory, not even its own user, and it leaves no core file.
func TestNotDumpable(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	bin, dir := build(t, "telecartd"), t.TempDir()
	state, config := filepath.Join(dir, "state"), filepath.Join(dir, "telecartd.toml")
	set := fmt.Sprintf("state = %q\nswap = \"warn\"\n[bedside]\nlisten = \"127.0.0.1:0\"\n[metrics]\nlisten = \"\"\n[hotplug]\nadopt = false\n", state)
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Mkdir(state, 0o700), os.WriteFile(config, []byte(set), 0o644)); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(state, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	var limit syscall.Rlimit // the agent's own doing, not its parent's
	if err := syscall.Getrlimit(syscall.RLIMIT_CORE, &limit); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{Cur: limit.Max, Max: limit.Max}); err != nil {
		t.Fatal(err)
	}
	cmd := ordinary(exec.CommandContext(ctx, filepath.Join(bin, "telecartd"), "--config", config))
	var log strings.Builder // with GOTRACEBACK=crash it is long
	cmd.Dir, cmd.Stderr, cmd.Env = state, &log, append(os.Environ(), "GOTRACEBACK=crash")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.HasPrefix(line, "ready ") {
		cmd.Wait()
		t.Fatalf("%q, %v: %s", line, err, log.String())
	}
	control := ordinary(exec.CommandContext(ctx, "sleep", "60"))
	if err := control.Start(); err != nil {
		t.Fatal(err)
	}
	if got := reads(ctx, control.Process.Pid); !strings.Contains(got, "Input/output error") {
		t.Errorf("another process of the same user: %q; so this test says nothing", got)
	}
	if got := reads(ctx, cmd.Process.Pid); !strings.Contains(got, "Permission denied") {
		t.Errorf("the agent's memory, as its own user: %q", got)
	}
	limits, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(cmd.Process.Pid), "limits"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(limits)) {
		if f := strings.Fields(line); strings.HasPrefix(line, "Max core file size") && (f[4] != "0" || f[5] != "0") {
			t.Error(line)
		}
	}
	control.Process.Kill()
	control.Wait()
	cmd.Process.Signal(syscall.SIGSEGV) // sent, not caused: Go dies of it, as the kernel does it
	cmd.Wait()
	if st, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || st.CoreDump() || st.Exited() && st.ExitStatus() == 0 {
		t.Errorf("killed by SIGSEGV: %v", cmd.ProcessState)
	}
	files, err := fs.Glob(os.DirFS(state), "core*")
	if err != nil || len(files) > 0 {
		t.Errorf("left behind: %v, %v", files, err)
	}
}

func TestNoSwap(t *testing.T) {
	on := fstest.MapFS{"proc/swaps": {Data: []byte("Filename Type Size Used Priority\n/dev/sda2 partition 8388604 0 -2\n")}}
	off := fstest.MapFS{"proc/swaps": {Data: []byte("Filename Type Size Used Priority\n")}}
	log := slog.New(slog.DiscardHandler)
	if err := noSwap(on, agent.RefuseSwap, log); !errors.Is(err, swap.ErrReadable) || !strings.Contains(err.Error(), "/dev/sda2") {
		t.Errorf("refuse: %v", err)
	}
	if err := noSwap(on, agent.Defaults().Swap, log); !errors.Is(err, swap.ErrReadable) {
		t.Errorf("by default: %v", err)
	}
	if err := errors.Join(noSwap(on, agent.WarnSwap, log), noSwap(off, agent.RefuseSwap, log)); err != nil {
		t.Error(err)
	}
}
