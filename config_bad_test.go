package esignd_test

import "testing"

// good is a configuration without mistakes; the bad ones put theirs behind it.
const good = "data_dir: d\nnats: {auth: none}\n"

// nkey is the public part of a user NKey.
const nkey = "UAKWEUT7YHFAUPCUEEVJNIP4ZTOIAE7AA2FEZJSSPH6JC5HZGZRHVTCA"

// services returns a configuration with one service that has these members.
func services(members string) string {
	return "data_dir: d\nnats: {auth: {services: [{" + members + "}]}}\n"
}

// badConfigs are configurations with what is said of them.
var badConfigs = []struct{ name, text, want string }{
	{"empty file", "", `  data_dir: is missing: name a folder that belongs to this esignd alone`},
	{"comments only", "# nothing yet\n", `  data_dir: is missing: name a folder that belongs to this esignd alone`},
	{"a word", "esignd\n", `  holds no settings: write name: value, one a line, beginning with data_dir: and a folder`},
	{"a list", "- data_dir: d\n", `  holds no settings: write name: value, one a line, beginning with data_dir: and a folder`},
	{"not YAML", "data_dir: [\n", `  not YAML: line 1: did not find expected node content`},
	{"tabs", "nats:\n\tauth: none\n", `  not YAML: line 2: found character that cannot start any token; if it is a tab, indent by spaces`},
	{"twice", good + "data_dir: e\n", `  not YAML: line 3: mapping key "data_dir" already defined at line 1`},
	{"secret that looks like an alias", good + clients("client_secret: *CANARY"), `  not YAML: an alias has no anchor; a value that begins with * stands in quotes`},
	{"numbers as names", good + "1: x\n", `  1 (line 3): there is no such setting; there are audit, clients, data_dir, http, keys, log, nats, plugins`},

	{"unknown at the top", good + "client: []\n", `  client (line 3): there is no such setting; did you mean clients?`},
	{"unknown and far from all", good + "kubernetes: true\n", `  kubernetes (line 3): there is no such setting; there are audit, clients, data_dir, http, keys, log, nats, plugins`},
	{"of another section", good + "public_url: https://a.example\n", `  public_url (line 3): there is no such setting; did you mean http.public_url?`},
	{"of two other sections", good + "listen: 127.0.0.1:1\n", `  listen (line 3): there is no such setting; did you mean http.listen or nats.listen?`},
	{"unknown in nats", "data_dir: d\nnats: {auth: none, adress: x}\n", `  nats.adress (line 2): there is no such setting; there are auth, credentials, listen, prefix, quota, replicas, tls, url`}, //nolint:misspell // the mistake is what is tested
	{"unknown in nats.tls", "data_dir: d\nnats: {auth: none, tls: {crt: x}}\n", `  nats.tls.crt (line 2): there is no such setting; did you mean cert?`},
	{"unknown in nats.auth", "data_dir: d\nnats: {auth: {users: []}}\n", `  nats.auth.services (line 2): is missing
  nats.auth.users (line 2): there is no such setting; there are services`},
	{"unknown in http", good + "http: {publicURL: x}\n", `  http.publicURL (line 3): there is no such setting; did you mean public_url?`},
	{"unknown in plugins", good + "plugins: {path: x}\n", `  plugins.path (line 3): there is no such setting; there are dir, sha256`},
	{"unknown in a client", good + clients("client_sercet: {env: X}"), `  clients[0].client_sercet (line 3): there is no such setting; did you mean client_secret?`},
	{"unknown in a secret", good + clients("client_secret: {environment: X}"), `  clients[0].client_secret.environment (line 3): there is no such setting; there are env, file`},
	{"unknown in a secret setting", good + clients("settings: {api_key: {evn: X}}"), `  clients[0].settings.api_key.evn (line 3): there is no such setting; did you mean env?`},
	{"unknown in keys", good + "keys: {wrapp: {env: X}}\n", `  keys.wrapp (line 3): there is no such setting; did you mean wrap?`},
	{"unknown in log", good + "log: {lvl: info}\n", `  log.lvl (line 3): there is no such setting; did you mean level?`},

	{"section is a word", "data_dir: d\nnats: embedded\n", `  nats (line 2): is a string, and must be a group of settings`},
	{"clients are a map", good + "clients: {name: a}\n", `  clients (line 3): is a group of settings, and must be a list`},
	{"client is a word", good + "clients: [adobe]\n", `  clients[0] (line 3): is a string, and must be a group of settings`},
	{"number for a string", good + clients("client_id: 12345"), `  clients[0].client_id (line 3): is a number, and must be a string; put it in quotes`},
	{"number for a word", good + clients("policy: 1"), `  clients[0].policy (line 3): 1 is not known; say eager or lazy`},
	{"string for a list", good + clients("scopes: a b"), `  clients[0].scopes (line 3): is a string, and must be a list; put it in brackets: [...]`},
	{"string for a number", "data_dir: d\nnats: {auth: none, replicas: many}\n", `  nats.replicas (line 2): "many" is not known; say 1, 3 or 5`},
	{"setting is a list", good + clients("settings: {api_url: [a]}"), `  clients[0].settings.api_url (line 3): is a list, and must be a string or, for a secret, {env: NAME} or {file: PATH}`},
	{"data_dir empty", "data_dir: \"\"\nnats: {auth: none}\n", `  data_dir (line 1): is empty: name a folder that belongs to this esignd alone`},

	{"no name and no vendor", good + "clients: [{client_id: x}]\n", `  clients[0].name (line 3): is missing: a client has a name of its own, which services ask by
  clients[0].vendor (line 3): is missing: name the vendor, such as adobesign`},
	{"bad name", good + "clients: [{name: adobe main, vendor: adobesign}]\n", `  clients[0].name (line 3): "adobe main" will not do: it takes letters, digits, _ and -, and at most 64 of them`},
	{"bad vendor", good + "clients: [{name: a, vendor: Adobe-Sign}]\n", `  clients[0].vendor (line 3): "Adobe-Sign" will not do: it takes lower-case letters and digits, such as adobesign; the plugin's file is esignd-plugin-<vendor>`},
	{"bad tenant", good + clients("tenants: [default, a.b]"), `  clients[0].tenants[1] (line 3): "a.b" will not do: it takes letters, digits, _ and -, and at most 64 of them`},
	{"no tenants", good + clients("tenants: []"), `  clients[0].tenants (line 3): is an empty list; name one, or leave the setting out for its default`},
	{"grant type", good + clients("grant_type: password"), `  clients[0].grant_type (line 3): "password" is not known; say authorization_code or client_credentials`},
	{"policy", good + clients("policy: sometimes"), `  clients[0].policy (line 3): "sometimes" is not known; say eager or lazy`},
	{"empty scope", good + clients("scopes: [\"\"]"), `  clients[0].scopes[0] (line 3): is empty`},
	{"log level", good + "log: {level: verbose}\n", `  log.level (line 3): "verbose" is not known; say debug, info, warn or error`},
	{"log format", good + "log: {format: logfmt}\n", `  log.format (line 3): "logfmt" is not known; say json or text`},
	{"pin", good + "plugins: {sha256: {adobesign: abc}}\n", "  plugins.sha256.adobesign (line 3): \"abc\" will not do: it takes 64 hexadecimal digits; `sha256sum` of the plugin's file prints them"},
	{"prefix", "data_dir: d\nnats: {auth: none, prefix: esign.*}\n", `  nats.prefix (line 2): "esign.*" will not do: it takes letters, digits, _ and -, in parts with dots between them`},
	{"replicas", "data_dir: d\nnats: {auth: none, replicas: 2}\n", `  nats.replicas (line 2): 2 is not known; say 1, 3 or 5`},

	{"secret in the file", good + clients("client_id: x, client_secret: CANARY"), `  clients[0].client_secret (line 3): a secret does not stand in the file; write {env: NAME} or {file: PATH}`},
	{"number as a secret", good + clients("client_id: x, client_secret: 12345"), `  clients[0].client_secret (line 3): a secret does not stand in the file; write {env: NAME} or {file: PATH}`},
	{"wrap in the file", good + "keys: {wrap: CANARY}\n", `  keys.wrap (line 3): a secret does not stand in the file; write {env: NAME} or {file: PATH}`},
	{"secret from two places", good + clients("client_secret: {env: A, file: B}"), `  clients[0].client_secret (line 3): say either env or file, not both`},
	{"secret from nowhere", good + clients("client_secret: {}"), `  clients[0].client_secret (line 3): a secret does not stand in the file; write {env: NAME} or {file: PATH}`},
	{"variable not set", good + clients("client_id: x, client_secret: {env: NOT_SET}"), `  clients[0].client_secret (line 3): the environment variable NOT_SET is not set; set it, or name another`},
	{"variable of a setting not set", good + clients("client_id: x, client_secret: {env: ADOBE_SECRET}, settings: {api_key: {env: NOT_SET}}"), `  clients[0].settings.api_key (line 3): the environment variable NOT_SET is not set; set it, or name another`},
	{"no credentials", good + "clients: [{name: a, vendor: adobesign}]\n", `  clients[0].client_id (line 3): is missing: the vendor gave it when the application was registered
  clients[0].client_secret (line 3): is missing: write {env: NAME} or {file: PATH}`},
	{"duplicate names", good + `clients:
  - {name: a, vendor: adobesign, client_id: x, client_secret: {env: ADOBE_SECRET}}
  - {name: b, vendor: adobesign, client_id: x, client_secret: {env: ADOBE_SECRET}}
  - {name: a, vendor: dropboxsign, client_id: x, client_secret: {env: ADOBE_SECRET}}
`, `  clients[2].name (line 6): "a" is the name of clients[0] too; give each a name of its own`},
	{"redirect URI without https", good + clients("client_id: x, client_secret: {env: ADOBE_SECRET}, redirect_uris: [\"https://a.example/cb\", \"http://a.example/cb\", \"/cb\"]"), `  clients[0].redirect_uris[1] (line 3): "http://a.example/cb" sends codes and cookies over the network in the clear; use https (http is for this machine, such as http://127.0.0.1:8080)
  clients[0].redirect_uris[2] (line 3): "/cb" is not a URL that begins with https:// or http://`},

	{"nats.auth missing", "data_dir: d\n", `  nats.auth: is missing: say none, which lets every program on this machine ask for tokens, or list services; esignd does not start on a guess`},
	{"nats.auth empty", "data_dir: d\nnats:\n  listen: 127.0.0.1:4222\n  auth:\n", `  nats.auth (line 4): is missing: say none, which lets every program on this machine ask for tokens, or list services; esignd does not start on a guess`},
	{"nats.auth of some other kind", "data_dir: d\nnats: {auth: token}\n", `  nats.auth (line 2): say none, which lets every program on this machine ask for tokens, or list services`},
	{"service without key and tenant", services("name: a"), `  nats.auth.services[0].tenant (line 2): is missing: name the tenant whose grants the service uses, such as default`},
	{"service without a name", services("tenant: t, nkeys: [" + nkey + "]"), `  nats.auth.services[0].name (line 2): is missing: a service has a name of its own, which its reply subjects and its consumer have too`},
	{"service with an empty tenant", services("name: a, tenant: \"\", nkeys: [" + nkey + "]"), `  nats.auth.services[0].tenant (line 2): "" will not do: it takes letters, digits, _ and -, and at most 64 of them`},
	{"unknown in a service", services("name: a, tenant: t, nkey: " + nkey), `  nats.auth.services[0].nkey (line 2): there is no such setting; did you mean nkeys?`},
	{"service without a proof", services("name: a, tenant: t"), `  nats.auth.services[0] (line 2): has nothing to prove itself by: list the public part of its key in nkeys (` + "`esignd creds new`" + ` makes one), or name its certificate`},
	{"service with two proofs", certified("nkeys: [" + nkey + "], certificate: CN=a"), `  nats.auth.services[0] (line 4): has nkeys and a certificate; say one of them`},
	{"certificate of two services", certified("certificate: CN=a}, {name: b, tenant: t, certificate: CN=a"), `  nats.auth.services[1].certificate (line 4): is that of services[0] too; give each one of its own`},
	{"certificate that is no name", certified(`certificate: "CN=a\nb"`), `  nats.auth.services[0].certificate (line 4): "CN=a\nb" will not do: it takes a name as it stands in a certificate, such as CN=billing, and at most 256 characters`},
	{"certificate without an authority", services("name: a, tenant: t, certificate: CN=a"), `  nats.auth.services[0].certificate (line 2): needs nats.tls: cert and key of the server, and in ca the authority that signs the services' certificates`},
	{"certificate at an external server", "data_dir: d\nnats: {url: \"tls://a:4222\", tls: {ca: /c}, auth: {services: [{name: a, tenant: t, certificate: CN=a}]}}\nkeys: {keyset: /k, wrap: {env: ESIGND_KEY}}\n", `  nats.auth.services[0].certificate (line 2): needs nats.tls.cert and key: a server that asks services for certificates asks esignd for one too`},
	{"role that there is not", services("name: a, tenant: t, role: admin, nkeys: [" + nkey + "]"), `  nats.auth.services[0].role (line 2): "admin" is not known; say caller, operator or auditor`},
	{"service without keys", services("name: a, tenant: t, nkeys: []"), `  nats.auth.services[0].nkeys (line 2): is an empty list; name one, or leave the setting out for its default`},
	{"seed in place of the key", services("name: a, tenant: t, nkeys: [SUCANARY]"), `  nats.auth.services[0].nkeys[0] (line 2): is not the public part of a user NKey, U and 55 letters and digits; ` + "`esignd creds new`" + ` makes one`},
	{"key that is one string", services("name: a, tenant: t, nkeys: " + nkey), `  nats.auth.services[0].nkeys (line 2): is a string, and must be a list; put it in brackets: [...]`},
	{"tenant with a dot", services("name: a, tenant: t.u, nkeys: [" + nkey + "]"), `  nats.auth.services[0].tenant (line 2): "t.u" will not do: it takes letters, digits, _ and -, and at most 64 of them`},
	{"service twice, key twice", "data_dir: d\nnats:\n  auth:\n    services:\n    - {name: b_c, tenant: a, nkeys: [" + nkey + "]}\n    - {name: c, tenant: a_b, nkeys: [" + nkey + "]}\n", `  nats.auth.services[1].name (line 6): "c" of tenant "a_b" shares its subjects (_INBOX_a_b_c.>) with services[0]; give each a name of its own
  nats.auth.services[1].nkeys[0] (line 6): is a key of services[0] too; make one for each with ` + "`esignd creds new`"},
	{"services are a map", "data_dir: d\nnats: {auth: {services: {a: b}}}\n", `  nats.auth.services (line 2): is a group of settings, and must be a list`},
	{"no services", "data_dir: d\nnats: {auth: {services: []}}\n", `  nats.auth.services (line 2): is an empty list; name one, or leave the setting out for its default`},
	{"open to the network", "data_dir: d\nnats: {auth: none, listen: \"0.0.0.0:4222\"}\n", `  nats.listen (line 2): "0.0.0.0:4222" with nats.auth none would give every token to the network; listen on a loopback address such as 127.0.0.1:4222`},
	{"nats.listen without port", "data_dir: d\nnats: {auth: none, listen: 127.0.0.1}\n", `  nats.listen (line 2): "127.0.0.1" is not host:port, such as 127.0.0.1:4222`},
	{"copies of an embedded server", "data_dir: d\nnats: {auth: none, replicas: 3}\n", `  nats.replicas (line 2): the embedded server keeps one copy; say 1, or use an external cluster (nats.url)`},
	{"settings of an external server", "data_dir: d\nnats: {auth: none, credentials: /c, tls: {ca: /ca}}\n", `  nats.credentials (line 2): is for an external server; set nats.url, or leave it out
  nats.tls.ca (line 2): asks for certificates, which goes with TLS only; name cert and key as well`},
	{"half a certificate of the embedded server", "data_dir: d\nnats: {auth: none, tls: {key: /k}}\n", `  nats.tls (line 2): cert and key go together; name both, or neither`},
	{"TLS and open to the network", "data_dir: d\nnats: {auth: none, listen: \"0.0.0.0:4222\", tls: {ca: /ca, cert: /c, key: /k}}\n", `  nats.listen (line 2): "0.0.0.0:4222" with nats.auth none would give every token to the network; listen on a loopback address such as 127.0.0.1:4222`},
	{"external server without keys", "data_dir: d\nnats: {url: \"nats://a:4222\"}\n", `  keys.keyset: is missing: with an external NATS server (nats.url), name a file that all replicas share
  keys.wrap: is missing: with an external NATS server (nats.url), write {env: NAME} or {file: PATH} of 32 random bytes in base64 (openssl rand -base64 32)`},
	{"half a certificate", "data_dir: d\nnats: {url: \"tls://a:4222\", tls: {cert: /c}}\nkeys: {keyset: /k, wrap: {env: ESIGND_KEY}}\n", `  nats.tls (line 2): cert and key go together; name both, or neither`},

	{"admin open to the network", good + "http: {admin: \":8081\"}\n", `  http.admin (line 3): ":8081" can be reached from the network, so operators need an address by which a session does not go in the clear: set http.admin_url to it, https, or http to a port that is forwarded to this machine; or listen on a loopback address such as 127.0.0.1:8081`},
	{"admin_url in the clear", good + "http: {admin: \":8081\", admin_url: \"http://esign.example.com:8081\"}\n", `  http.admin_url (line 3): "http://esign.example.com:8081" sends codes and cookies over the network in the clear; use https (http is for this machine, such as http://127.0.0.1:8080)`},
	{"admin_url with a path", good + "http: {admin_url: \"https://esign.example.com/console\"}\n", `  http.admin_url (line 3): has a path or a query; the console is at its top, so leave that out`},
	{"metrics_token in the file", good + "http: {metrics_token: CANARY}\n", `  http.metrics_token (line 3): a secret does not stand in the file; write {env: NAME} or {file: PATH}`},
	{"metrics_token that is guessed", good + "http: {metrics_token: {env: ADOBE_SECRET}}\n", "  http.metrics_token (line 3): is shorter than 32 characters; `openssl rand -hex 32` makes one that nobody guesses"},
	{"proxy by name", good + "http: {trusted_proxies: [10.0.0.1, proxy.example.com]}\n", `  http.trusted_proxies (line 3): "proxy.example.com" is neither an address nor a network such as 10.1.0.0/16`},
	{"http.listen without port", good + "http: {listen: localhost}\n", `  http.listen (line 3): "localhost" is not host:port, such as 127.0.0.1:8080`},
	{"port by name", good + "http: {listen: \"127.0.0.1:http\"}\n", `  http.listen (line 3): "127.0.0.1:http" is not host:port, such as 127.0.0.1:8080`},
	{"public_url in the clear", good + "http: {public_url: \"http://esign.example.com\"}\n", `  http.public_url (line 3): "http://esign.example.com" sends codes and cookies over the network in the clear; use https (http is for this machine, such as http://127.0.0.1:8080)`},
	{"public_url without scheme", good + "http: {public_url: esign.example.com}\n", `  http.public_url (line 3): "esign.example.com" is not a URL that begins with https:// or http://`},
	{"public_url with a query", good + "http: {public_url: \"https://esign.example.com/?a=b\"}\n", `  http.public_url (line 3): has a query; paths are appended to it, so leave that out`},
	{"listens on an address of the network, public_url not said", good + "http: {listen: \"192.0.2.1:80\"}\n", `  http.public_url (line 3): "http://192.0.2.1:80" sends codes and cookies over the network in the clear; use https (http is for this machine, such as http://127.0.0.1:8080)`},
	{"public_url with a password", good + "http: {public_url: \"http://me:CANARY@esign.example.com\", return_to: [\"me:CANARY@a.example/x\", \"https://a.example/@me\", \"https://a.example/#x\"]}\n",
		`  http.public_url (line 3): names a user (before the @); leave that out
  http.return_to[0] (line 3): names a user (before the @); leave that out
  http.return_to[2] (line 3): "https://a.example/#x" has a fragment (#...); leave that out`},
	{"half a certificate of HTTP", good + "http: {tls: {cert: /c}}\n", `  http.tls (line 3): cert and key go together; name both, or neither`},
	{"authority without a certificate", good + "http: {tls: {ca: /c}}\n", `  http.tls.ca (line 3): asks for certificates, which goes with TLS only; name cert and key as well`},
	{"public_url of a listener that speaks TLS", good + "http: {public_url: \"http://127.0.0.1:8080\", tls: {cert: /c, key: /k}}\n", `  http.public_url (line 3): "http://127.0.0.1:8080" begins with http://, and with http.tls the listener speaks https; say https://`},
	{"return_to", good + "http: {return_to: [\"https://a.example\", \"javascript:alert(1)\", \"http://a.example\"]}\n", `  http.return_to[1] (line 3): "javascript:alert(1)" is not a URL that begins with https:// or http://
  http.return_to[2] (line 3): "http://a.example" sends codes and cookies over the network in the clear; use https (http is for this machine, such as http://127.0.0.1:8080)`},

	{"several mistakes of form", `nats:
  auht: none
  replicas: "3"
http: {listen: 8080}
clients:
  - name: adobe main
    vendor: adobesign
    client_secret: CANARY
log: {level: loud}
`, `  data_dir: is missing: name a folder that belongs to this esignd alone
  nats.auht (line 2): there is no such setting; did you mean auth?
  nats.replicas (line 3): is a string; leave the quotes out
  http.listen (line 4): is a number, and must be a string; put it in quotes
  clients[0].name (line 6): "adobe main" will not do: it takes letters, digits, _ and -, and at most 64 of them
  clients[0].client_secret (line 8): a secret does not stand in the file; write {env: NAME} or {file: PATH}
  log.level (line 9): "loud" is not known; say debug, info, warn or error`},
	{"several mistakes", `data_dir: d
nats:
  auth: none
  listen: 0.0.0.0:4222
http:
  admin: 0.0.0.0:8081
clients:
  - name: a
    vendor: adobesign
    client_secret: {env: NOT_SET}
`, `  nats.listen (line 4): "0.0.0.0:4222" with nats.auth none would give every token to the network; listen on a loopback address such as 127.0.0.1:4222
  http.admin (line 6): "0.0.0.0:8081" can be reached from the network, so operators need an address by which a session does not go in the clear: set http.admin_url to it, https, or http to a port that is forwarded to this machine; or listen on a loopback address such as 127.0.0.1:8081
  clients[0].client_id (line 8): is missing: the vendor gave it when the application was registered
  clients[0].client_secret (line 10): the environment variable NOT_SET is not set; set it, or name another`},
}

// clients is a configuration's one client with these members besides name and vendor, on line 3.
func clients(members string) string {
	return "clients: [{name: a, vendor: adobesign, " + members + "}]\n"
}

// certified is a configuration whose server asks for certificates, with one service with these members.
func certified(members string) string {
	return "data_dir: d\nnats:\n  tls: {ca: /a, cert: /c, key: /k}\n  auth: {services: [{name: a, tenant: t, " + members + "}]}\n"
}

func TestBadConfigsSayWhatToDo(t *testing.T) {
	for _, c := range badConfigs {
		t.Run(c.name, func(t *testing.T) {
			_, err := load(t, c.text)
			if err == nil {
				t.Fatal("it was taken")
			}
			if err.Error() != c.want {
				t.Errorf("got\n%v\nwant\n%s", err, c.want)
			}
		})
	}
}

func TestBadOverridesNameTheVariable(t *testing.T) {
	for variable, want := range map[string]string{
		"ESIGND_NATS_AUTH=all":                    `  nats.auth (ESIGND_NATS_AUTH): say none, which lets every program on this machine ask for tokens, or list services`,
		"ESIGND_NATS_LISTEN=0.0.0.0:1":            `  nats.listen (ESIGND_NATS_LISTEN): "0.0.0.0:1" with nats.auth none would give every token to the network; listen on a loopback address such as 127.0.0.1:4222`,
		"ESIGND_NATS_REPLICAS=many":               `  nats.replicas (ESIGND_NATS_REPLICAS): "many" is not known; say 1, 3 or 5`,
		"ESIGND_LOG_LEVEL=trace":                  `  log.level (ESIGND_LOG_LEVEL): "trace" is not known; say debug, info, warn or error`,
		"ESIGND_HTTP_PUBLIC_URL=http://a.example": `  http.public_url (ESIGND_HTTP_PUBLIC_URL): "http://a.example" sends codes and cookies over the network in the clear; use https (http is for this machine, such as http://127.0.0.1:8080)`,
	} {
		if _, err := load(t, good, variable); err == nil || err.Error() != want {
			t.Errorf("%s: got\n%v\nwant\n%s", variable, err, want)
		}
	}
}
