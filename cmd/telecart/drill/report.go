package drill

import (
	"errors"
	"io"
)

// Report is the drill's last line.
type Report struct {
	Captured         int     `json:"captured"` // what the nurse was told is saved
	Delivered        int     `json:"delivered"`
	Lost             int     `json:"lost"`
	Duplicated       int     `json:"duplicated"`
	ReceiptsVerified int     `json:"receipts_verified"`
	AgentKills       int     `json:"agent_kills"`
	OfflineS         float64 `json:"offline_s"`
	FirstFrameMS     int64   `json:"first_frame_ms"` // from the nurse's touch to the first decoded picture at the specialist
	SteerMSP50       int64   `json:"steer_ms_p50"`   // from the specialist's setpoint to a decoded picture that shows it
	SteerMSP95       int64   `json:"steer_ms_p95"`
	ResumeMS         int64   `json:"resume_ms"` // from the link's return to a live picture, nobody dialling
	PlaintextHits    int     `json:"plaintext_hits"`
}

// ErrBroken: a promise broke.
var ErrBroken = errors.New("drill: a promise broke")

// Options of a drill.
type Options struct {
	Keep string    // keep the state folders here; "": nothing is kept
	Say  io.Writer // what happens, as it happens
}

// The planted patient: none of this may ever be readable on the cart's disk.
const (
	plantedID    = "QXZ-48151623"
	plantedName  = "Quackenbush Zebulon"
	plantedBirth = "2019-04-05"
	plantedNote  = "Mutter berichtet Otorrhoe seit gestern, kein Fieber zuhause"
	otherCamera  = "room camera"
)
