// Subscribes with the graphql-ws client: prints "ready", then each event as a line of JSON, and ends after the number given.
import { createClient } from "graphql-ws";
import WebSocket from "ws";

const [url, query, wanted] = process.argv.slice(2);
const client = createClient({ url, webSocketImpl: WebSocket, retryAttempts: 0 });
client.on("connected", () => setTimeout(() => console.log("ready"), 300));
let seen = 0;
for await (const event of client.iterate({ query })) {
  console.log(JSON.stringify(event));
  seen += 1;
  if (seen >= Number(wanted)) break;
}
await client.dispose();
