package wire

import "embed"

// Schemas holds the JSON Schema (draft 2020-12) of each message, as schema/<message>.json. Schemas of requests refuse
// unknown fields, as the service does; those of replies and events allow them.
//
//go:embed schema/*.json
var Schemas embed.FS

// AsyncAPI is the AsyncAPI 3 document of the contract, in YAML. It refers to the schemas by their relative paths.
//
//go:embed asyncapi.yaml
var AsyncAPI []byte
