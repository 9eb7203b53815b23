package stage

import (
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// Proxy is a clinic's way out: a CONNECT proxy on loopback that leads to one address alone.
type Proxy struct {
	srv  *http.Server
	ln   net.Listener
	done chan struct{}
}

// NewProxy serves until Close; what it opened ends with its two ends.
func NewProxy(to string) (*Proxy, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{ln: ln, done: make(chan struct{}), srv: &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Host != to {
			http.Error(w, "only CONNECT "+to, http.StatusForbidden)
			return
		}
		tunnel(w, to)
	})}}
	go func() {
		defer close(p.done)
		_ = p.srv.Serve(ln) // until Close
	}()
	return p, nil
}

func tunnel(w http.ResponseWriter, to string) {
	up, err := net.Dial("tcp", to)
	if err != nil {
		http.Error(w, "it does not answer", http.StatusBadGateway)
		return
	}
	defer up.Close()
	down, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer down.Close()
	if _, err := io.WriteString(down, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	var back sync.WaitGroup
	back.Go(func() { io.Copy(down, up); down.Close() })
	io.Copy(up, down)
	up.Close()
	back.Wait()
}

// URL is what the cart's settings say.
func (p *Proxy) URL() string { return "http://" + p.ln.Addr().String() }

// Close takes no more.
func (p *Proxy) Close() {
	p.srv.Close()
	<-p.done
}
