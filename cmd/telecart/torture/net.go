package torture

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"

	"telecart/uplink/wire"
)

// network is the http.RoundTripper between a cart and the hub. It loses requests and answers, cuts bodies short, delivers
// twice and late, and has somebody in it who forges receipts.
type network struct {
	w    *world
	cart *cart
	down bool // a partition
	half bool // half-open: requests arrive, no answer does
	calm bool // nothing goes wrong
	late []call
}

// call is a request that is still on its way.
type call struct {
	method, url string
	body        []byte
}

var errNetwork = errors.New("torture: the network lost it")

func (n *network) RoundTrip(r *http.Request) (*http.Response, error) {
	c := call{method: r.Method, url: r.URL.String()}
	if r.Body != nil {
		defer r.Body.Close()
	}
	if n.down {
		return nil, errNetwork
	}
	fate := 99
	if !n.calm {
		fate = n.w.rng.IntN(100)
	}
	if fate < 5 { // the request is lost
		return nil, errNetwork
	}
	var body io.Reader
	if r.Body != nil {
		body = r.Body
		if fate < 10 { // the body is cut
			body = io.LimitReader(r.Body, n.w.rng.Int64N(80<<10))
		}
		b, err := io.ReadAll(body)
		if err != nil {
			return nil, errors.Join(errNetwork, err)
		}
		c.body = b
	}
	switch {
	case fate < 10 && r.Body != nil:
		n.w.hub.serve(n.cart, c, io.ErrUnexpectedEOF)
		return nil, errNetwork
	case fate < 14: // it arrives after everybody has forgotten it
		n.late = append(n.late, c)
		return nil, errNetwork
	case fate < 18: // it arrives twice
		n.w.hub.serve(n.cart, c, nil)
	case fate < 22 && r.Method == http.MethodPut:
		return n.forge(c), nil
	}
	resp := n.w.hub.serve(n.cart, c, nil)
	if resp == nil || n.half || fate >= 22 && fate < 28 { // the answer is lost
		return nil, errNetwork
	}
	if fate >= 28 && fate < 30 { // the answer is cut
		b, _ := io.ReadAll(resp.Body)
		resp.Body = io.NopCloser(bytes.NewReader(b[:len(b)/2]))
	}
	return resp, nil
}

// arrive delivers what was late.
func (n *network) arrive() {
	late := n.late
	n.late = nil
	for _, c := range late {
		n.w.hub.serve(n.cart, c, nil)
	}
}

// forge answers a PUT with a receipt that the hub never signed.
func (n *network) forge(c call) *http.Response {
	n.w.say("a forged receipt")
	var r wire.Receipt
	if m, _, _, err := manifestOf(c.body); err == nil {
		e := m.Entry
		r = wire.Receipt{Verdict: wire.Received, Hub: hubName, Store: n.cart.store, Sequence: 1, Key: 7, Book: n.w.bookOf(c.url), Incarnation: e.Incarnation,
			Number: e.Number, Prev: e.Prev, Item: e.Body}
	}
	w := newAnswer()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Write(r.Marshal())
	return w.response()
}

// manifestOf reads what a PUT's body begins with.
func manifestOf(body []byte) (m wire.Manifest, h wire.Header, w wire.Wrap, err error) {
	if len(body) < 4 {
		return m, h, w, io.ErrUnexpectedEOF
	}
	n := int(body[0])<<24 | int(body[1])<<16 | int(body[2])<<8 | int(body[3])
	if n > len(body)-4 {
		return m, h, w, io.ErrUnexpectedEOF
	}
	return wire.UnmarshalManifest(body[4 : 4+n])
}

// answer is a http.ResponseWriter in memory.
type answer struct {
	head   http.Header
	status int
	body   bytes.Buffer
}

func newAnswer() *answer { return &answer{head: http.Header{}} }

func (a *answer) Header() http.Header { return a.head }

func (a *answer) WriteHeader(s int) {
	if a.status == 0 {
		a.status = s
	}
}

func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(b)
}

func (a *answer) response() *http.Response {
	a.WriteHeader(http.StatusOK)
	return &http.Response{StatusCode: a.status, Status: http.StatusText(a.status), Header: a.head, Body: io.NopCloser(&a.body), ProtoMajor: 1, ProtoMinor: 1}
}

// broken gives its bytes, then an error.
type broken struct {
	io.Reader
	err error
}

func (b broken) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF && b.err != nil {
		err = b.err
	}
	return n, err
}

// request is the call as the hub's server would hand it to ingest.
func (c call) request(cut error) (*http.Request, error) {
	r, err := http.NewRequestWithContext(context.Background(), c.method, c.url, broken{bytes.NewReader(c.body), cut})
	if err == nil && c.body == nil {
		r.Body = http.NoBody
	}
	return r, err
}
