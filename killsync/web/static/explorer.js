// The GraphQL explorer: GraphiQL over this server's own HTTP and WebSocket endpoints.
"use strict";

(() => {
  if (!window.GraphiQL || !window.React || !window.ReactDOM || !window.graphqlWs) return;
  const socket = location.origin.replace(/^http/, "ws") + "/graphql";
  const fetcher = window.GraphiQL.createFetcher({
    url: "/graphql",
    wsClient: window.graphqlWs.createClient({ url: socket, lazy: true }),
  });
  const example = `# Newest killmails. Ctrl-Enter runs it; the book on the left is the documentation.
query Newest {
  killmails(first: 10) {
    edges {
      node {
        id
        killmailTime
        solarSystem { name }
        victim { character { name } corporation { name } shipType { name } damageTaken }
        finalBlow { character { name } shipType { name } weaponType { name } }
        attackerCount
      }
    }
    pageInfo { hasNextPage endCursor }
  }
}

subscription Live {
  newKillmail { id killmailTime solarSystem { id name } victim { shipType { id name } } }
}
`;
  // What a link to this page brings along: "As GraphQL" of a list.
  const given = new URLSearchParams(location.hash.slice(1));
  const begin = given.has("query") ? { query: given.get("query"), variables: given.get("variables") ?? "" } : {};
  const root = window.ReactDOM.createRoot(document.getElementById("explorer"));
  root.render(window.React.createElement(window.GraphiQL, { fetcher, defaultQuery: example, shouldPersistHeaders: false, ...begin }));
})();
