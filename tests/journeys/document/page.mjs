// What the page around the document's code gives it: the host, the session, and the three functions it calls.
// Usage: node page.mjs <snippet> (BASE_URL, COOKIE, TOKEN and ID in the environment). Prints a line of JSON per outcome.

const { BASE_URL, COOKIE, TOKEN, ID } = process.env;
const say = (what, value) => console.log(JSON.stringify({ what, value }));

const browserFetch = globalThis.fetch;
globalThis.fetch = async (path, options = {}) => {
    const answer = await browserFetch(BASE_URL + path, { ...options, headers: { Cookie: COOKIE, ...options.headers } });
    say("fetched", { path, method: options.method ?? "GET", status: answer.status });
    return answer;
};

const BrowserSocket = globalThis.WebSocket;
globalThis.WebSocket = class extends BrowserSocket {
    constructor(address) {
        super(address.replace("ws://localhost:8000", BASE_URL.replace("http", "ws")), { headers: { Cookie: COOKIE, Origin: BASE_URL } });
        this.addEventListener("message", (event) => say("frame", JSON.parse(event.data).type));
        this.addEventListener("close", (event) => say("closed", event.code));
    }
};

const everySoOften = globalThis.setInterval;
globalThis.setInterval = (work, milliseconds) => everySoOften(work, milliseconds / 100);

globalThis.token = TOKEN;
globalThis.id = Number(ID);
globalThis.showNotification = (notification) => say("notification", notification);
globalThis.showRoleNotification = (notification) => say("role notification", notification);
globalThis.showSystemMessage = (message) => say("system message", message);

for (const [name, value] of Object.entries(await import(process.argv[2]))) {
    say(name, value);
}
