// A front end that joins a room, and prints what it is told. It comes back by itself, and goes on where it was.
//   node socketio.mjs URL SUBSCRIPTION TOKEN
import { io } from "socket.io-client";

const [url, subscription, token] = process.argv.slice(2);
const say = (kind, told) => console.log(JSON.stringify([kind, told]));

let position;
const socket = io(url, { transports: ["websocket"], auth: { token } });
socket.on("connect", () => {
  socket.emit("join", { ...JSON.parse(subscription), position }, (answer) => {
    position ??= answer.position;
    say("joined", answer);
  });
});
for (const kind of ["change", "leave", "gap", "position", "cut", "close", "error"]) {
  socket.on(kind, (told) => {
    position = told.position ?? position;
    say(kind, told);
  });
}
socket.on("connect_error", (error) => say("connect_error", { message: error.message, ...error.data }));
socket.on("disconnect", (reason) => say("disconnect", { reason }));
