//go:build planted

package planted

// which is set by the build: -tags planted -ldflags "-X telecart/device/kit/planted.which=BUG".
var which string

// Is says whether this build has that bug.
func Is(b Bug) bool { return string(b) == which }
