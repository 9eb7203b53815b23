package bedside

import (
	"context"
	"net/http"

	"github.com/coder/websocket"

	"telecart/uplink/live/fmp4"
	"telecart/uplink/wire"
)

// Faces are the pictures of those who take part in a consult.
type Faces interface {
	// Face gives what a player is to append, in order, until ctx ends, show fails, or nobody is to be seen under this name. It
	// redials by itself, and then begins anew.
	Face(ctx context.Context, id string, show func(fmp4.Segment) error) error
}

// face sends a specialist's picture for a player in the page: a text message with the codec before each beginning, then what
// is to be appended. It ends when there is nothing to be seen any more.
func (s *Server) face(w http.ResponseWriter, r *http.Request) {
	if s.opt.Faces == nil {
		wire.NewProblem(http.StatusNotFound, "no-picture", "This cart shows no pictures of others", "").Write(w)
		return
	}
	ws, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer ws.CloseNow()
	ctx := ws.CloseRead(r.Context())
	_ = s.opt.Faces.Face(ctx, r.PathValue("id"), func(g fmp4.Segment) error {
		if g.Codec != "" {
			if err := sendText(ctx, ws, []byte(g.Codec)); err != nil {
				return err
			}
		}
		return sendPicture(ctx, ws, g.Data)
	})
	ws.Close(websocket.StatusNormalClosure, "no-picture") // the page asks again while somebody is to be seen
}
