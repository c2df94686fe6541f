// node: its servers. Its timers and tasks have no counterpart that could be compared.
'use strict';
const net = require('net');
const http = require('http');

function listen(server) {
    server.listen({ port: 0, host: '127.0.0.1', backlog: 1024 }, () => console.log(`port ${server.address().port}`));
}

const body = 'Hello, World!';
if (process.argv[2] === '--serve') {
    listen(net.createServer({ noDelay: true }, (socket) => {
        socket.on('data', (data) => socket.write(data));
        socket.on('error', () => socket.destroy());
    }));
} else if (process.argv[2] === '--serve-http') {
    listen(http.createServer((request, response) => {
        response.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': body.length });
        response.end(body);
    }));
} else {
    console.error('no such row');
    process.exit(1);
}
