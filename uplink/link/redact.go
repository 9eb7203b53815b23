package link

import (
	"fmt"
	"io"
	"log/slog"
)

// Messages that can name a patient show nothing in logs; JSON, which is the link itself, does.
const redacted = "[message]"

func (Message) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (Message) String() string               { return redacted }
func (Message) Format(f fmt.State, _ rune)   { io.WriteString(f, redacted) }
func (Desired) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (Desired) String() string               { return redacted }
func (Desired) Format(f fmt.State, _ rune)   { io.WriteString(f, redacted) }
func (PatientOf) LogValue() slog.Value       { return slog.StringValue(redacted) }
func (PatientOf) String() string             { return redacted }
func (PatientOf) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// A notice shows its code alone: With can hold a name.
func (n Notice) LogValue() slog.Value       { return slog.StringValue(n.String()) }
func (n Notice) String() string             { return "notice " + n.Code }
func (n Notice) Format(f fmt.State, _ rune) { io.WriteString(f, n.String()) }
