package capture

// Quantity is one line of the table of all that instruments measure: how it is coded and called.
type Quantity struct {
	Name  string // as readings carry it
	LOINC string // "" for what is not exported as an observation, or whose code is not confirmed yet
	Unit  string // UCUM
	// Waveform: it comes as samples, not as readings.
	Waveform bool
	// Cart: it says something of the cart, nothing of the patient, and is never kept in an encounter.
	Cart bool
	// Low and High are what a person may enter by hand, in steps of 10^-Digits: beyond is a slip of the finger. High 0: it
	// is not entered by hand.
	Low, High float64
	Digits    int
}

// Quantities is the table. A new quantity is one line here. LOINC and UCUM pairs: FHIR R4 vital signs profiles.
func Quantities() []Quantity {
	return []Quantity{
		{Name: "body-temperature", LOINC: "8310-5", Unit: "Cel", Low: 25, High: 45, Digits: 1},
		{Name: "skin-temperature", Unit: "Cel"},
		{Name: "oxygen-saturation", LOINC: "59408-5", Unit: "%", Low: 30, High: 100},
		{Name: "pulse-rate", LOINC: "8867-4", Unit: "/min", Low: 20, High: 320},
		{Name: "perfusion-index", Unit: "%"},
		{Name: "pleth", Unit: "1", Waveform: true},
		{Name: "heart-rate", LOINC: "8867-4", Unit: "/min"},
		{Name: "ecg", Unit: "uV", Waveform: true},
		{Name: "systolic-pressure", LOINC: "8480-6", Unit: "mm[Hg]", Low: 30, High: 280},
		{Name: "diastolic-pressure", LOINC: "8462-4", Unit: "mm[Hg]", Low: 10, High: 200},
		{Name: "mean-pressure", LOINC: "8478-0", Unit: "mm[Hg]"},
		{Name: "cuff-pressure", Unit: "mm[Hg]"},
		{Name: "respiratory-rate", LOINC: "9279-1", Unit: "/min", Low: 1, High: 150},
		{Name: "body-weight", LOINC: "29463-7", Unit: "kg", Low: 0.3, High: 300, Digits: 2},
		{Name: "body-height", LOINC: "8302-2", Unit: "cm", Low: 20, High: 250, Digits: 1},
		{Name: "head-circumference", LOINC: "9843-4", Unit: "cm", Low: 15, High: 70, Digits: 1},
		{Name: "pain-score", LOINC: "72514-3", Unit: "{score}", Low: 0, High: 10},
		{Name: "phonogram", Unit: "1", Waveform: true},
		{Name: "battery-charge", Unit: "%", Cart: true},
		{Name: "battery-left", Unit: "min", Cart: true},
		{Name: "battery-voltage", Unit: "V", Cart: true},
		{Name: "supply-voltage", Unit: "V", Cart: true},
		{Name: "supply-current", Unit: "A", Cart: true},
		{Name: "room-temperature", Unit: "Cel", Cart: true},
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
