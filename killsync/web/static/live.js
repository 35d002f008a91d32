// Subscriptions of a page over one WebSocket (graphql-transport-ws) that comes back by itself.
const subscriptions = new Map();
const watchers = [];
let socket = null;
let isReady = false;
let pause = 500;

const send = (message) => socket.send(JSON.stringify(message));
const start = (id) => {
  const { query, variables } = subscriptions.get(id);
  send({ id, type: "subscribe", payload: { query, variables } });
};
const tell = (state) => watchers.forEach((watcher) => watcher(state));

// Calls onData with the data of each event, and again after every reconnection, then with what `variables` holds at that time.
// Where the server says that it cannot go on from there, onLost changes them, and the subscription begins anew.
export function subscribe(query, variables, onData, onLost) {
  const id = String(subscriptions.size + 1);
  subscriptions.set(id, { query, variables, onData, onLost });
  if (isReady) start(id);
  else if (!socket) open();
}

// Calls onState with "live", "reconnecting" or "refused" each time that changes.
export function watch(onState) {
  watchers.push(onState);
}

function open() {
  socket = new WebSocket(location.origin.replace(/^http/, "ws") + "/graphql", "graphql-transport-ws");
  socket.onopen = () => send({ type: "connection_init" });
  socket.onmessage = (event) => {
    const message = JSON.parse(event.data);
    if (message.type === "connection_ack") {
      isReady = true;
      pause = 500;
      [...subscriptions.keys()].forEach(start);
      tell("live");
    } else if (message.type === "ping") {
      send({ type: "pong" });
    } else if (message.type === "next" && message.payload.data) {
      subscriptions.get(message.id).onData(message.payload.data);
    } else if (message.type === "error") {
      const { onLost } = subscriptions.get(message.id);
      if (onLost && message.payload[0]?.extensions?.code === "NOT_IN_LOG") {
        onLost();
        start(message.id);
      } else tell("refused");
    }
  };
  socket.onclose = () => {
    isReady = false;
    tell("reconnecting");
    setTimeout(open, pause * (0.75 + Math.random() / 2));
    pause = Math.min(pause * 2, 15000);
  };
}
