package code

// checked says whether the last of the digits is the check digit of the others.
func checked(digits string, scheme func(string) byte) bool {
	n := len(digits) - 1
	return n > 0 && scheme(digits[:n]) == digits[n]
}

// gs1Digit is that of GTIN, SSCC, GSRN and all other GS1 numbers: weights 3 and 1 in turn from the right, what is missing to
// the next ten (GS1 General Specifications 7.9.1).
func gs1Digit(digits string) byte {
	sum := 0
	for i := range len(digits) {
		d := int(digits[len(digits)-1-i] - '0')
		if i%2 == 0 {
			d *= 3
		}
		sum += d
	}
	return tenth(sum)
}

// luhnDigit is HL7's M10: every other digit from the right is doubled, the digits of all are added, and what is missing
// to the next ten is the check digit.
func luhnDigit(digits string) byte {
	sum := 0
	for i := range len(digits) {
		d := int(digits[len(digits)-1-i] - '0')
		if i%2 == 0 {
			d *= 2
		}
		sum += d/10 + d%10
	}
	return tenth(sum)
}

// mod11Digit is HL7's M11: weights 2 to 7, again and again from the right; what is missing to the next eleven. Where
// that would be 10 or 11 the digit is 0: sources agree on 11; that 10 is not left out is from memory of HL7's text, and
// if a hospital leaves such numbers out nothing is lost by accepting them.
func mod11Digit(digits string) byte {
	sum := 0
	for i := range len(digits) {
		sum += int(digits[len(digits)-1-i]-'0') * (2 + i%6)
	}
	if r := sum % 11; r > 1 {
		return byte('0' + 11 - r)
	}
	return '0'
}

func tenth(sum int) byte { return byte('0' + (10-sum%10)%10) }
