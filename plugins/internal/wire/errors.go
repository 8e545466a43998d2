package wire

import (
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/internal/wire/pluginv1"
)

const (
	maxDetail     = 300            // runes of VendorError.Detail
	maxRetryAfter = 24 * time.Hour // of VendorError.RetryAfter
	maxHTTPStatus = 599
)

// errEmptyResponse is what a response with neither a result nor an error means.
func errEmptyResponse() error {
	return &core.VendorError{
		Outcome: core.Unknown, Code: core.CodeInternal, Detail: "the plugin answered with neither a result nor an error",
	}
}

func encodeVendorError(err error) *pluginv1.VendorError {
	e := core.AsVendorError(err)
	return &pluginv1.VendorError{
		Outcome:    encodeOutcome(e.Outcome),
		Code:       strings.ToValidUTF8(e.Code, ""),
		Status:     int32(e.Status), //nolint:gosec // the decoder drops what is no HTTP status
		RetryAfter: encodeDuration(e.RetryAfter),
		Detail:     oneLine(e.Detail),
	}
}

// decodeVendorError reads an error that another process wrote, and trusts it no further than it must.
func decodeVendorError(m *pluginv1.VendorError) *core.VendorError {
	e := &core.VendorError{
		Outcome:    decodeOutcome(m.GetOutcome()),
		Code:       m.GetCode(),
		Status:     int(m.GetStatus()),
		RetryAfter: min(max(decodeDuration(m.GetRetryAfter()), 0), maxRetryAfter),
		Detail:     oneLine(m.GetDetail()),
	}
	if !slices.Contains(core.VendorCodes(), e.Code) {
		e.Code = core.CodeInternal
	}
	if e.Status < 0 || e.Status > maxHTTPStatus {
		e.Status = 0
	}
	if e.Outcome == core.NotSent && e.Status != 0 {
		e.Outcome = core.Unknown // an HTTP status answers a request, so one was sent
	}
	return e
}

func encodeOutcome(o core.Outcome) pluginv1.Outcome {
	switch o {
	case core.NotSent:
		return pluginv1.Outcome_OUTCOME_NOT_SENT
	case core.Refused:
		return pluginv1.Outcome_OUTCOME_REFUSED
	default:
		return pluginv1.Outcome_OUTCOME_UNKNOWN
	}
}

func decodeOutcome(o pluginv1.Outcome) core.Outcome {
	switch o {
	case pluginv1.Outcome_OUTCOME_NOT_SENT:
		return core.NotSent
	case pluginv1.Outcome_OUTCOME_REFUSED:
		return core.Refused
	default:
		return core.Unknown
	}
}

// oneLine makes s fit for a log: valid, printable, on one line, and short.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if runes := []rune(s); len(runes) > maxDetail {
		s = string(runes[:maxDetail-1]) + "…"
	}
	return strings.TrimSpace(s)
}
