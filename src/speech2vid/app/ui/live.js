// The tab Live: microphone → WebSocket → pictures. The messages are described in live.py.
"use strict";
(() => {
  const RATE = 16000, CHUNK = 1280;          // samples a message: 80 ms
  const BEHIND_S = 1.5;                      // audio is left out while the pictures are later than this
  const byId = (id) => document.getElementById(id);
  let run = null;

  const say = (text, failed) => {
    const place = byId("live-status");
    place.className = failed ? "s2v-failure" : "s2v-idle";
    place.textContent = text;
  };

  const buttons = (on) => {
    byId("live-start").disabled = on;
    byId("live-stop").disabled = !on;
  };

  // The microphone as blocks of 16 kHz samples. Browsers that cannot run at 16 kHz are averaged down.
  const WORKLET = `registerProcessor("pieces", class extends AudioWorkletProcessor {
    constructor() { super(); this.sum = 0; this.count = 0; this.place = 0; this.out = []; }
    process([[input]]) {
      if (!input) return true;
      const step = ${RATE} / sampleRate;
      for (const value of input) {
        this.sum += value; this.count += 1; this.place += step;
        if (this.place >= 1) {
          this.out.push(this.sum / this.count);
          this.sum = 0; this.count = 0; this.place -= 1;
          if (this.out.length === ${CHUNK}) { this.port.postMessage(Float32Array.from(this.out)); this.out = []; }
        }
      }
      return true;
    }
  });`;

  const listen = async (stream, take) => {
    let context = new AudioContext({ sampleRate: RATE }), source;
    try {
      source = context.createMediaStreamSource(stream);
    } catch {                                // Firefox: the rates must agree
      await context.close();
      context = new AudioContext();
      source = context.createMediaStreamSource(stream);
    }
    const address = URL.createObjectURL(new Blob([WORKLET], { type: "text/javascript" }));
    await context.audioWorklet.addModule(address);
    URL.revokeObjectURL(address);
    const pieces = new AudioWorkletNode(context, "pieces", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    pieces.port.onmessage = (event) => take(event.data);
    source.connect(pieces);
    await context.resume();
    return context;
  };

  const photo = async () => {
    const shown = document.querySelector("#live-photo img");
    if (!shown) throw new Error("There is no photo yet. Upload one, take one with the camera, or click on the example.");
    const answer = await fetch(shown.src);
    if (!answer.ok) throw new Error("The photo is gone. Upload it again.");
    return answer.blob();
  };

  const start = async () => {
    if (run) return;
    const mine = (run = { sent: 0, left_out: 0, shown: -1, times: [], at: [] });
    buttons(true);
    try {
      if (!document.querySelector("#live-consent input").checked) throw new Error("Please tick the box about consent first.");
      const picture = await photo();
      if (!navigator.mediaDevices) throw new Error("The microphone needs https, or a page on this machine.");
      say("Waiting for the microphone …");
      mine.microphone = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, echoCancellation: true } });
      say("Looking at the photo …");
      await talk(mine, picture);
    } catch (error) {
      if (run === mine) stop(error.name === "NotAllowedError" ? "The microphone was not allowed." : error.message, true);
    }
  };

  const talk = (mine, picture) => new Promise((resolve, reject) => {
    const address = new URL("live", document.baseURI);
    address.protocol = address.protocol.replace("http", "ws");
    const socket = (mine.socket = new WebSocket(address));
    socket.binaryType = "arraybuffer";
    socket.onopen = () => { socket.send(JSON.stringify({ max_size_px: 512 })); socket.send(picture); };
    socket.onclose = () => reject(new Error("The connection has ended."));
    socket.onmessage = async ({ data }) => {
      if (typeof data !== "string") return show(mine, data);
      const message = JSON.parse(data);
      if (message.type === "ready") {
        const canvas = byId("live-canvas");
        [canvas.width, canvas.height] = [message.width_px, message.height_px];
        canvas.hidden = false;
        say("Speak.");
        mine.context = await listen(mine.microphone, (samples) => send(mine, samples));
        if (run !== mine) mine.context.close();
      } else if (message.type === "error") {
        reject(new Error(`${message.message}. ${message.hint}`));
      } else {
        resolve();
      }
    };
  });

  const send = (mine, samples) => {
    if (run !== mine || mine.socket.readyState !== WebSocket.OPEN) return;
    if (mine.sent / RATE - (mine.shown + 1) / 25 > BEHIND_S) { mine.left_out += 1; return; }
    const pcm = new DataView(new ArrayBuffer(2 * samples.length));
    samples.forEach((value, index) => pcm.setInt16(2 * index, Math.max(-1, Math.min(1, value)) * 32767, true));
    mine.socket.send(pcm.buffer);
    mine.sent += samples.length;
    mine.at.push([mine.sent / RATE, performance.now()]);  // when the audio up to here had been heard
  };

  const show = async (mine, data) => {
    const number = new DataView(data).getUint32(0, true);
    const bitmap = await createImageBitmap(new Blob([new Uint8Array(data, 8)], { type: "image/jpeg" }));
    if (run !== mine || number < mine.shown) return;
    byId("live-canvas").getContext("2d").drawImage(bitmap, 0, 0);
    mine.shown = number;
    const now = performance.now();
    const middle = (number + 0.5) / 25;
    while (mine.at.length > 1 && mine.at[0][0] < middle) mine.at.shift();
    const [until, heard] = mine.at[0];
    mine.times.push([now, (now - heard) / 1000 + (until - middle)]);
    while (mine.times[0][0] < now - 3000) mine.times.shift();
    if (number % 5) return;
    const delays = mine.times.map(([, delay]) => delay).sort((a, b) => a - b);
    const rate = (mine.times.length - 1) / ((now - mine.times[0][0]) / 1000);
    const lost = mine.left_out ? ` · ${(mine.left_out * CHUNK / RATE).toFixed(1)} s of audio left out: this machine is too slow` : "";
    say(`${rate.toFixed(0)} pictures a second · ${delays[delays.length >> 1].toFixed(2)} s after the audio${lost}`);
    byId("live-status").dataset.frames = number + 1;
    byId("live-status").dataset.delay = delays[delays.length >> 1].toFixed(3);
  };

  const stop = (text, failed) => {
    const ended = run;
    run = null;
    if (ended) {
      ended.microphone?.getTracks().forEach((track) => track.stop());
      ended.context?.close();
      if (ended.socket) { ended.socket.onclose = null; ended.socket.close(); }
    }
    buttons(false);
    say(text, failed);
  };

  document.addEventListener("click", ({ target }) => {
    if (target.id === "live-start") start();
    if (target.id === "live-stop") stop("Stopped. Nothing was kept.", false);
  });
})();
