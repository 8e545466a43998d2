// Reads an AsyncAPI document with the official parser and prints what it finds wrong, one line each.
import { Parser, fromFile } from "@asyncapi/parser";

const { document, diagnostics } = await fromFile(new Parser(), process.argv[2]).parse();
// A schema's $id names it for the world; the parser knows no such address and says so as information.
const wrong = diagnostics.filter((d) => d.severity <= 1);
for (const d of wrong) console.log(`${d.range.start.line + 1}: ${d.code}: ${d.message} (${d.path.join(".")})`);
if (!document || wrong.length > 0) process.exit(1);
console.log(`${document.operations().all().length} operations, ${document.channels().all().length} channels, ${document.allMessages().all().length} messages`);
