package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"regexp"
	"strings"
	"time"

	"telecart/uplink/wire"
)

//go:embed all:dist
var dist embed.FS

// Pages are the built console.
func Pages() fs.FS {
	sub, err := fs.Sub(dist, "dist")
	if err != nil {
		panic(err) // "dist" is a valid path
	}
	return sub
}

// pagePolicy lets the page load its own parts and talk to its own hub, nothing else. Pictures and clips are drawn from
// memory (blob:); small icons are in the styles (data:).
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; font-src 'self'; " +
	"connect-src 'self'; manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// hashed matches names that change with their content: app-3F9A77C0.js.
var hashed = regexp.MustCompile(`[.-][0-9A-Za-z_]{8,}\.[a-z0-9]+$`)

// Static serves the pages. What has its hash in its name is kept by browsers for ever, the rest asked for each time.
func Static(files fs.FS) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			wire.NewProblem(http.StatusMethodNotAllowed, "method", "This address is only read", "").Write(w)
			return
		}
		name := strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")
		if name == "" {
			name = "index.html"
		}
		b, err := fs.ReadFile(files, name)
		switch {
		case err != nil && name == "index.html":
			wire.NewProblem(http.StatusServiceUnavailable, "not-built", "The console's pages are not part of this build", "build cmd/telecart-hub/console, then the hub").Write(w)
			return
		case err != nil || strings.HasPrefix(path.Base(name), "."):
			wire.NewProblem(http.StatusNotFound, "not-found", "There is no such page", "").Write(w)
			return
		}
		h := w.Header()
		h.Set("Content-Security-Policy", pagePolicy)
		h.Set("Permissions-Policy", "camera=(self), microphone=(self), geolocation=()")
		h.Set("Cache-Control", "no-cache")
		if hashed.MatchString(name) {
			h.Set("Cache-Control", "public, max-age=31536000, immutable")
		}
		if t := mime.TypeByExtension(path.Ext(name)); t != "" {
			h.Set("Content-Type", t)
		}
		sum := sha256.Sum256(b)
		h.Set("ETag", `"`+hex.EncodeToString(sum[:16])+`"`)
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(b))
	})
}
