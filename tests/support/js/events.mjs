// Reads server-sent events with the EventSource of the eventsource package: prints "open" at each connection and the number of each
// event, and ends after as many events as were asked for. The package itself comes back with the last number when a stream breaks.
import { EventSource } from "eventsource";

const [url, wanted] = process.argv.slice(2);
const source = new EventSource(url);
let seen = 0;
source.onopen = () => console.log("open");
source.onmessage = (event) => {
  const entry = JSON.parse(event.data);
  if (String(entry.sequence_id) !== event.lastEventId) throw new Error("the number is not that of the entry");
  console.log(event.lastEventId);
  seen += 1;
  if (seen >= Number(wanted)) source.close();
};
