// node: a net server. Its timers and tasks have no counterpart that could be compared.
'use strict';
const net = require('net');
if (process.argv[2] !== '--serve') {
    console.error('no such row');
    process.exit(1);
}
const server = net.createServer({ noDelay: true }, (socket) => {
    socket.on('data', (data) => socket.write(data));
    socket.on('error', () => socket.destroy());
});
server.listen({ port: 0, host: '127.0.0.1', backlog: 1024 }, () => console.log(`port ${server.address().port}`));
