package agent

import (
	"fmt"
	"io"
	"log/slog"
)

// State and what it is made of go to the nurse's own screen as JSON, and nowhere else: whichever verb of fmt or handler of
// slog gets hold of them shows no patient.
const redacted = "[bedside state]"

func (State) LogValue() slog.Value             { return slog.StringValue(redacted) }
func (State) String() string                   { return redacted }
func (State) Format(f fmt.State, _ rune)       { io.WriteString(f, redacted) }
func (PatientView) LogValue() slog.Value       { return slog.StringValue(redacted) }
func (PatientView) String() string             { return redacted }
func (PatientView) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }
func (AlertView) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (AlertView) String() string               { return redacted }
func (AlertView) Format(f fmt.State, _ rune)   { io.WriteString(f, redacted) }
func (Item) LogValue() slog.Value              { return slog.StringValue(redacted) }
func (Item) String() string                    { return redacted }
func (Item) Format(f fmt.State, _ rune)        { io.WriteString(f, redacted) }
func (args) LogValue() slog.Value              { return slog.StringValue(redacted) }
func (args) String() string                    { return redacted }
func (args) Format(f fmt.State, _ rune)        { io.WriteString(f, redacted) }
