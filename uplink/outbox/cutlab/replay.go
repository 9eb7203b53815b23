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
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tester mounts one state after the other and has a process look at it.
type tester struct {
	img       []byte // what the device shows: mounting changes it
	device    string
	fs        string
	options   string
	mount     string
	oracleDir string
	segment   int64
	log       kernelLog

	states, failed, lost int
	confirmed            int
	first                []string // of what was wrong

	child *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
}

const (
	verifyTimeout = 90 * time.Second
	keptFailures  = 5
)

// try tests one state: the disk, and what the cut adds.
func (t *tester) try(disk []byte, c cut, q request) error {
	restore(t.img, disk)
	if err := c.keep(t.img); err != nil {
		return err
	}
	t.log.complaint()
	var v verdict
	if err := unix.Mount(t.device, t.mount, t.fs, 0, t.options); err != nil {
		v.lost("LOST: the file system does not mount: %v", err)
	} else {
		v = t.ask(q)
		if err := t.unmount(); err != nil {
			return err
		}
	}
	if bad := t.log.complaint(); bad != "" {
		v.wrong("KERNEL: %s", bad)
	}
	t.states++
	if len(v.Wrong) == 0 {
		return nil
	}
	t.failed++
	if v.Lost > 0 {
		t.lost++
	}
	if len(t.first) < keptFailures {
		t.first = append(t.first, fmt.Sprintf("state %d (%s, %d marks): %s", t.states, c.what, q.Marks, v.text()))
		fmt.Fprintln(os.Stderr, t.first[len(t.first)-1])
	}
	return nil
}

// restore undoes what the last mount did to the image. Comparing is faster than copying, and keeps the pages clean.
func restore(img, disk []byte) {
	const step = 64 << 10
	for o := 0; o < len(disk); o += step {
		e := min(o+step, len(disk))
		if !bytes.Equal(img[o:e], disk[o:e]) {
			copy(img[o:e], disk[o:e])
		}
	}
}

// unmount lets go of the file system; a process that does not is ended.
func (t *tester) unmount() error {
	if unix.Unmount(t.mount, 0) == nil {
		return nil
	}
	t.stop()
	return unix.Unmount(t.mount, 0)
}

// ask has the verifying process look. It lives as long as it can; one that dies or hangs has found something.
func (t *tester) ask(q request) (v verdict) {
	if t.child == nil {
		if err := t.start(); err != nil {
			v.wrong("VERIFY: %v", err)
			return v
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), verifyTimeout)
	defer cancel()
	child := t.child.Process
	defer context.AfterFunc(ctx, func() { child.Kill() })()
	if err := json.NewEncoder(t.in).Encode(q); err != nil {
		v.lost("LOST: the verifying process died: %v", err)
		t.stop()
		return v
	}
	line, err := t.out.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &v)
	}
	if err != nil {
		v.lost("LOST: the verifying process died or hung: %v", err)
		t.stop()
	}
	return v
}

// failures is the first of what was wrong.
func (t *tester) failures() string {
	return fmt.Sprintf("%d of %d states failed: %s", t.failed, t.states, strings.Join(t.first, " | "))
}

func (t *tester) start() (err error) {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(exe, "verify", t.mount, t.oracleDir, strconv.FormatInt(t.segment, 10))
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), "GOGC=400") // memory is cheaper here than an emulated processor
	if t.in, err = cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	t.out = bufio.NewReader(out)
	if err := cmd.Start(); err != nil {
		return err
	}
	t.child = cmd
	return nil
}

// close lets go of the image.
func (t *tester) close() error {
	t.stop()
	return errors.Join(unix.Munmap(t.img), unix.Close(t.log.fd))
}

func (t *tester) stop() {
	if t.child == nil {
		return
	}
	t.in.Close()
	t.child.Process.Kill()
	t.child.Wait()
	t.child = nil
}
