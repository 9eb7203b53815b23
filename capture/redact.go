package capture

import (
	"fmt"
	"io"
	"log/slog"
)

// redacted is all that a log, a URL or a metric ever shows of patient data.
const redacted = "[patient]"

// redact answers every verb of fmt, so that a patient shows in none, not even inside something larger whose fields are exported.
// (fmt calls no method of an unexported field, and a JSON log looks inside: what holds a patient is not logged.)
func redact(f fmt.State, what string) { io.WriteString(f, what) }

// LogValue, String and Format keep a patient out of logs, whichever verb is used.
func (Patient) LogValue() slog.Value       { return slog.StringValue(redacted) }
func (Patient) String() string             { return redacted }
func (Patient) Format(f fmt.State, _ rune) { redact(f, redacted) }

// LogValue, String and Format of a body show its kind alone.
func (b Body) LogValue() slog.Value       { return slog.StringValue(b.String()) }
func (b Body) String() string             { return b.Kind.String() + " " + redacted }
func (b Body) Format(f fmt.State, _ rune) { redact(f, b.String()) }

func (NoteInfo) LogValue() slog.Value          { return slog.StringValue(redacted) }
func (NoteInfo) String() string                { return redacted }
func (NoteInfo) Format(f fmt.State, _ rune)    { redact(f, redacted) }
func (BindingInfo) LogValue() slog.Value       { return slog.StringValue(redacted) }
func (BindingInfo) String() string             { return redacted }
func (BindingInfo) Format(f fmt.State, _ rune) { redact(f, redacted) }

// What holds them shows no more: a log handler that writes JSON would go inside.

func (CorrectionInfo) LogValue() slog.Value       { return slog.StringValue(redacted) }
func (CorrectionInfo) String() string             { return redacted }
func (CorrectionInfo) Format(f fmt.State, _ rune) { redact(f, redacted) }
func (Alert) LogValue() slog.Value                { return slog.StringValue(redacted) }
func (Alert) String() string                      { return redacted }
func (Alert) Format(f fmt.State, _ rune)          { redact(f, redacted) }

func (s EncounterState) LogValue() slog.Value       { return slog.StringValue(s.String()) }
func (s EncounterState) String() string             { return "encounter " + s.ID.String() + " " + redacted }
func (s EncounterState) Format(f fmt.State, _ rune) { redact(f, s.String()) }
func (e Encounter) LogValue() slog.Value            { return e.state.LogValue() }
func (e Encounter) String() string                  { return e.state.String() }
func (e Encounter) Format(f fmt.State, _ rune)      { redact(f, e.state.String()) }
func (s Step) LogValue() slog.Value                 { return slog.StringValue(s.String()) }
func (s Step) String() string                       { return "step of encounter " + s.Encounter.String() + " " + redacted }
func (s Step) Format(f fmt.State, _ rune)           { redact(f, s.String()) }
