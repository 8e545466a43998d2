package web

import (
	"cmp"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/esignd/esignd/core"
)

// maxEvent bounds what a vendor may send. The events that mean something to esignd have a few kilobytes.
const maxEvent = 512 << 10

// vendorEvent takes what a vendor sends by itself. Whose it is the vendor's adapter says; here anybody may post. A vendor
// is a program: it gets plain text, and a status by which it knows whether to send the event again.
func (s *Server) vendorEvent(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxEvent))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		writeText(w, http.StatusRequestEntityTooLarge, "the event is over "+strconv.Itoa(maxEvent)+" bytes")
		return
	}
	if err != nil {
		writeText(w, http.StatusBadRequest, "the event could not be read to its end")
		return
	}
	reply, err := s.cfg.Manager.VendorEvent(r.Context(), r.PathValue("client"), core.EventRequest{Header: r.Header, Body: body})
	if err != nil {
		s.refuseEvent(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, reply) // as it is: the vendor compares it
}

// refuseEvent answers for a Manager's error, without its words: who posts may be anybody.
func (s *Server) refuseEvent(w http.ResponseWriter, r *http.Request, err error) {
	e := core.AsError(err)
	switch e.Code {
	case core.AccessDenied:
		writeText(w, http.StatusForbidden, "not accepted: it is not the vendor's, or too old")
	case core.InvalidRequest:
		writeText(w, http.StatusBadRequest, "not accepted: it cannot be read")
	case core.NotFound, core.Unsupported:
		writeText(w, http.StatusNotFound, "there is nothing here that takes events")
	case core.TemporarilyUnavailable:
		w.Header().Set("Retry-After", strconv.Itoa(max(1, int(e.RetryAfter/time.Second))))
		writeText(w, http.StatusServiceUnavailable, "not now; send it again")
	default:
		s.cfg.Logger.ErrorContext(r.Context(), "an event of a vendor could not be taken; the vendor is told to send it again", "error", cmp.Or(errors.Unwrap(e), error(e)))
		writeText(w, http.StatusInternalServerError, "not taken; send it again")
	}
}
