package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"telecart/device/kit"
	"telecart/device/nonin"
)

const (
	packetEvery = time.Second / 3 // Nonin format 2: three packets of 25 frames a second
	cutAt       = 38              // bytes of a packet: in the middle of its eighth frame
	writeLimit  = time.Second     // a guest that doesn't read is as good as gone
)

// feed is an oximeter at the far end of the guest's serial line: it keeps connecting to the machine's socket, which is the
// USB cable, and sends format 2. While a file named unplugged lies beside the socket the cable is out: it is pulled, and put in
// again, in the middle of a frame.
func feed(ctx context.Context, clock kit.Clock, socket string) error {
	flag := filepath.Join(filepath.Dir(socket), unplugged)
	patient := nonin.NewStream(nonin.Format2, 1)
	var line net.Conn
	var reader sync.WaitGroup
	defer reader.Wait()
	defer func() {
		if line != nil {
			line.Close()
		}
	}()
	for {
		_, err := os.Stat(flag)
		out := err == nil
		if line != nil && out {
			// Time for the guest to read what came before, or the end of the cable would swallow it.
			if _, err := line.Write(patient.Bytes(nonin.Healthy)[:cutAt]); err == nil {
				<-clock.After(packetEvery)
			}
			line.Close()
			line = nil
		}
		if line == nil && !out {
			// Not there yet, or the machine has gone: keep trying, run.sh ends us.
			if line, _ = (&net.Dialer{Timeout: writeLimit}).DialContext(ctx, "unix", socket); line != nil {
				reader.Go(discard(line))
				_, _ = line.Write(patient.Bytes(nonin.Healthy)[cutAt:]) // what fails is seen below
			}
		}
		if line != nil {
			if err := line.SetWriteDeadline(clock.Now().Add(writeLimit)); err != nil {
				return fmt.Errorf("serial line: %w", err)
			}
			if _, err := line.Write(patient.Bytes(nonin.Healthy)); err != nil {
				line.Close()
				line = nil
			}
		}
		select {
		case <-clock.After(packetEvery):
		case <-ctx.Done():
			return nil
		}
	}
}

// discard reads until the line is closed.
func discard(line net.Conn) func() { return func() { _, _ = io.Copy(io.Discard, line) } }
