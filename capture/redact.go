package capture

import (
	"fmt"
	"log/slog"
)

// redacted is all that a log, a URL or a metric ever shows of patient data.
const redacted = "[patient]"

// LogValue, String and Format keep a patient out of logs, whichever verb is used.
func (Patient) LogValue() slog.Value       { return slog.StringValue(redacted) }
func (Patient) String() string             { return redacted }
func (Patient) Format(f fmt.State, _ rune) { fmt.Fprint(f, redacted) }

// LogValue, String and Format of a body show its kind alone.
func (b Body) LogValue() slog.Value       { return slog.StringValue(b.String()) }
func (b Body) String() string             { return b.Kind.String() + " " + redacted }
func (b Body) Format(f fmt.State, _ rune) { fmt.Fprint(f, b.String()) }

func (NoteInfo) LogValue() slog.Value          { return slog.StringValue(redacted) }
func (NoteInfo) String() string                { return redacted }
func (NoteInfo) Format(f fmt.State, _ rune)    { fmt.Fprint(f, redacted) }
func (BindingInfo) LogValue() slog.Value       { return slog.StringValue(redacted) }
func (BindingInfo) String() string             { return redacted }
func (BindingInfo) Format(f fmt.State, _ rune) { fmt.Fprint(f, redacted) }
