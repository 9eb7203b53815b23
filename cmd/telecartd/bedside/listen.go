package bedside

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"

	"telecart/device"
	"telecart/device/stethoscope/filter"
	"telecart/uplink/wire"
)

// listen sends what a stethoscope hears: first a text message with the rate ("48000"), then each stretch as 16-bit
// little-endian values, filtered for the ear if the page asks for a band (?filter=bell). What is recorded is never filtered. A
// page that falls behind misses stretches: late sound is worse than none.
func (s *Server) listen(w http.ResponseWriter, r *http.Request) {
	mic, ok := s.opt.Instruments.Microphone(r.PathValue("instrument"))
	if !ok {
		wire.NewProblem(http.StatusNotFound, "no-stethoscope", "There is no such stethoscope", "").Write(w)
		return
	}
	name := r.URL.Query().Get("filter")
	band, ok := filter.LookUp(name)
	if !ok && name != "" {
		wire.NewProblem(http.StatusBadRequest, "bad-argument", "There is no such filter", "filter is one of "+strings.Join(bands(), ", ")).Write(w)
		return
	}
	ws, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer ws.CloseNow()
	ctx := ws.CloseRead(r.Context())
	for ctx.Err() == nil {
		if err := play(ctx, ws, mic, band); !errors.Is(err, device.ErrGone) {
			return
		}
		select { // unplugged: it may come back
		case <-ctx.Done():
		case <-s.opt.Clock.After(200 * time.Millisecond):
		}
	}
}

func bands() (names []string) {
	for _, b := range filter.Bands() {
		names = append(names, b.Name)
	}
	return names
}

// play sends until the microphone or the page is gone. A band without a name is no filter.
func play(ctx context.Context, ws *websocket.Conn, mic device.Microphone, band filter.Band) error {
	ear := mic.Listen()
	defer ear.Close()
	var f *filter.Filter
	var out []int16
	rate := 0
	for {
		x, err := ear.Next(ctx)
		if err != nil {
			return err
		}
		if x.RateHz != rate {
			rate = x.RateHz
			if err := write(ctx, ws, websocket.MessageText, fmt.Append(nil, rate)); err != nil {
				return err
			}
			if f = nil; band.Name != "" {
				if f, err = filter.New(band, rate); err != nil {
					return err
				}
			}
		}
		values := x.Values
		if f != nil {
			out = append(out[:0], values...)
			f.Int16(out, values)
			values = out
		}
		b := make([]byte, 0, 2*len(values))
		for _, v := range values {
			b = binary.LittleEndian.AppendUint16(b, uint16(v))
		}
		if err := write(ctx, ws, websocket.MessageBinary, b); err != nil {
			return err
		}
	}
}

func write(ctx context.Context, ws *websocket.Conn, t websocket.MessageType, b []byte) error {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	return ws.Write(ctx, t, b)
}
