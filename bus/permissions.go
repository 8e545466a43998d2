package bus

import (
	"github.com/nats-io/nats-server/v2/server"

	"github.com/esignd/esignd/bus/wire"
)

// anonymousPermissions are those of a caller under auth none: the API of every tenant, discovery, the events, and
// nothing else. A NATS permission cannot say "tokens that begin with _INBOX_", so answers go to _INBOX.> only.
func anonymousPermissions(prefix string) *server.Permissions {
	allow := []string{
		prefix + ".api.>", "$SRV.>",
		"$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST",
	}
	for _, verb := range []string{
		"STREAM.INFO", "STREAM.MSG.GET", "CONSUMER.LIST", "CONSUMER.NAMES",
		// The old form without a name, and the one that has the name and the filter behind the stream's name.
		"CONSUMER.CREATE", "DIRECT.GET",
	} {
		allow = append(allow, "$JS.API."+verb+"."+wire.EventStream)
	}
	for _, verb := range []string{
		"CONSUMER.CREATE", "CONSUMER.DURABLE.CREATE", "CONSUMER.INFO", "CONSUMER.MSG.NEXT", "CONSUMER.DELETE", "DIRECT.GET",
	} {
		allow = append(allow, "$JS.API."+verb+"."+wire.EventStream+".>")
	}
	allow = append(allow, "$JS.ACK."+wire.EventStream+".>", "$JS.FC.>")
	return &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: allow},
		Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>", prefix + ".event.>"}},
	}
}

// service is a subject on which a caller may ask.
type service struct {
	subject string
	many    bool // answers to one request
}

// api are the subjects of the endpoints that the caller may use.
func (c Caller) api(prefix string) []service {
	var list []service
	for _, e := range c.role().Endpoints() {
		list = append(list, service{subject: wire.APISubject(prefix, c.Tenant, e)})
	}
	return list
}

// consuming are the subjects by which the caller uses its consumers: look at one, take from it, acknowledge.
func (c Caller) consuming() []service {
	streams := []string{wire.EventStream}
	if c.role() == wire.Auditor {
		streams = append(streams, wire.AuditStream)
	}
	var list []service
	for _, stream := range streams {
		consumer := stream + "." + c.durable()
		list = append(list,
			service{subject: "$JS.API.CONSUMER.INFO." + consumer},
			service{subject: "$JS.API.CONSUMER.MSG.NEXT." + consumer, many: true},
			service{subject: "$JS.ACK." + consumer + ".>"})
	}
	return list
}

// daemonDenied are the subjects on which esignd itself does not publish: what would take something from the audit.
func daemonDenied() []string {
	var list []string
	for _, verb := range []string{"STREAM.DELETE", "STREAM.PURGE", "STREAM.MSG.DELETE"} {
		list = append(list, "$JS.API."+verb+"."+wire.AuditStream)
	}
	return list
}

// publishes are the subjects on which the caller may publish.
func (c Caller) publishes(prefix string) []string {
	var list []string
	for _, s := range append(c.api(prefix), c.consuming()...) {
		list = append(list, s.subject)
	}
	return list
}

// subscribes are the subjects to which the caller may subscribe.
func (c Caller) subscribes(prefix string) []string {
	return []string{c.inbox() + ".>", c.events(prefix)}
}

func (c Caller) events(prefix string) string { return wire.TenantEvents(prefix, c.Tenant, ">") }
