// GraphQL for the pages: queries by fetch, subscriptions over one WebSocket that comes back by itself.
export async function ask(query, variables = {}) {
  const response = await fetch("/graphql", {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "application/json" },
    body: JSON.stringify({ query, variables }),
  });
  const answer = await response.json();
  if (answer.errors) throw new Error(answer.errors[0].message);
  return answer.data;
}

export function listen(subscriptions, onState) {
  let pause = 500;
  const open = () => {
    const socket = new WebSocket(location.origin.replace(/^http/, "ws") + "/graphql", "graphql-transport-ws");
    const send = (message) => socket.send(JSON.stringify(message));
    socket.onopen = () => send({ type: "connection_init" });
    socket.onmessage = (event) => {
      const message = JSON.parse(event.data);
      if (message.type === "connection_ack") {
        pause = 500;
        Object.entries(subscriptions).forEach(([id, { query, variables }]) =>
          send({ id, type: "subscribe", payload: { query, variables } }));
        onState("live");
      } else if (message.type === "ping") {
        send({ type: "pong" });
      } else if (message.type === "next" && message.payload.data) {
        subscriptions[message.id].onData(message.payload.data);
      }
    };
    socket.onclose = () => {
      onState("reconnecting");
      setTimeout(open, pause);
      pause = Math.min(pause * 2, 15000);
    };
  };
  open();
}
