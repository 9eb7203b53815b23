//go:build !planted

package planted

// Is says whether this build has that bug.
func Is(Bug) bool { return false }
