// Package acm emulates a serial port on USB (CDC-ACM), for the kernel's own cdc_acm: a real /dev/ttyACMN.
//
// Parties: an instrument (a cuff, a scanner) writes into a Port and takes what the host sends; the kernel's driver is the host.
//
// Invariants: bytes come in the order in which they were written. What nobody reads is kept as far as a port's chip keeps it; more
// is lost, and so is all of it when the cable is pulled. An instrument outlives its cable.
//
// Source: USB CDC PSTN 1.2, 6.3; linux drivers/usb/class/cdc-acm.c.
package acm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sync"

	"telecart/device/lab/usbip"
)

const (
	epIn  = 1
	epOut = 2

	kept = 512 // bytes in the chip

	setLineCoding = 0x20
	getLineCoding = 0x21
	setControl    = 0x22
	sendBreak     = 0x23
)

// Port is one serial port.
type Port struct {
	usb   usbip.Descriptors
	takes func([]byte)

	mu     sync.Mutex
	cond   *sync.Cond
	coding []byte // as the host set it: speed, stop bits, parity, data bits
	out    []byte // not yet taken by the host
	sent   int    // bytes that the host has taken
}

// New makes a port. takes is called, by one goroutine, with what the host sends; it must not wait.
func New(id usbip.Identity, takes func([]byte)) *Port {
	p := &Port{usb: id.Descriptors(2, 2, interfaces()), takes: takes, coding: make([]byte, 7)}
	p.cond = sync.NewCond(&p.mu)
	return p
}

// interfaces are one for control with its interrupt endpoint, which never says anything, and one for data.
func interfaces() []byte {
	return bytes.Join([][]byte{
		{9, 4, 0, 0, 1, 2, 2, 1, 0}, // abstract control model, AT commands
		{5, 0x24, 0, 0x10, 0x01},    // header
		{5, 0x24, 1, 0, 1},          // call management: none
		{4, 0x24, 2, 2},             // line coding is supported
		{5, 0x24, 6, 0, 1},          // the data are on interface 1
		{7, 5, 0x83, 3, 8, 0, 16},
		{9, 4, 1, 0, 2, 0x0a, 0, 0, 0},
		{7, 5, epOut, 2, 64, 0, 0},
		{7, 5, 0x80 | epIn, 2, 64, 0, 0},
	}, nil)
}

// Handle is the port's usbip.Handler.
func (p *Port) Handle(cable *usbip.Port, s usbip.Setup, out []byte) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case s.Standard() && s.Request == usbip.SetConfiguration:
		p.out, p.sent = nil, 0
		cable.Receive(epOut, p.takes)
		go p.pump(cable.Open(epIn))
	case s.Standard():
		return p.usb.Standard(s)
	case s.Request == setLineCoding && len(out) == len(p.coding):
		p.coding = bytes.Clone(out)
	case s.Request == getLineCoding:
		return bytes.Clone(p.coding), nil
	case s.Request != setControl && s.Request != sendBreak:
		return nil, usbip.ErrStall
	}
	return nil, nil
}

// Setting is how the host set the line: "9600 8N1"; "" if it did not.
func (p *Port) Setting() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	baud := binary.LittleEndian.Uint32(p.coding)
	if baud == 0 || p.coding[4] > 2 || p.coding[5] > 4 {
		return ""
	}
	return fmt.Sprintf("%d %d%c%s", baud, p.coding[6], "NOEMS"[p.coding[5]], []string{"1", "1.5", "2"}[p.coding[4]])
}

// Write sends to the host. What doesn't fit is lost, and that is no error.
func (p *Port) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out = append(p.out, b[:min(len(b), kept-len(p.out))]...)
	p.cond.Broadcast()
	return len(b), nil
}

// Sent counts the bytes that the host has taken since it was plugged in.
func (p *Port) Sent() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent
}

// pump hands to the host what was written, as long as the cable is in.
func (p *Port) pump(pipe *usbip.Pipe) {
	go func() {
		<-pipe.Done()
		p.mu.Lock() // or next, about to wait, would not hear it
		defer p.mu.Unlock()
		p.cond.Broadcast()
	}()
	for b := p.next(pipe); b != nil; b = p.next(pipe) {
		if pipe.Send(b) != nil {
			return
		}
		p.mu.Lock()
		p.sent += len(b)
		p.mu.Unlock()
	}
}

// next waits for something to send: at most one packet; nil if the pipe has ended.
func (p *Port) next(pipe *usbip.Pipe) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		select {
		case <-pipe.Done():
			return nil
		default:
		}
		if n := min(len(p.out), 63); n > 0 { // shorter than a packet: it ends the transfer
			b := bytes.Clone(p.out[:n])
			p.out = p.out[n:]
			return b
		}
		p.cond.Wait()
	}
}
