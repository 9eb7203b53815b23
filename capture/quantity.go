package capture

// Quantity is one line of the table of all that instruments measure: how it is coded and called.
type Quantity struct {
	Name  string // as readings carry it
	LOINC string // "" for what is never exported as an observation
	Unit  string // UCUM
	// Waveform: it comes as samples, not as readings.
	Waveform bool
}

// Quantities is the table. A new quantity is one line here. LOINC and UCUM pairs: FHIR R4 vital signs profiles.
func Quantities() []Quantity {
	return []Quantity{
		{Name: "body-temperature", LOINC: "8310-5", Unit: "Cel"},
		{Name: "oxygen-saturation", LOINC: "59408-5", Unit: "%"},
		{Name: "pulse-rate", LOINC: "8867-4", Unit: "/min"},
		{Name: "pleth", Unit: "1", Waveform: true},
	}
}

// LookUp finds a quantity by name.
func LookUp(name string) (Quantity, bool) {
	for _, q := range Quantities() {
		if q.Name == name {
			return q, true
		}
	}
	return Quantity{}, false
}
