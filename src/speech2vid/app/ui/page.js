// What Gradio leaves out: drop zones have two different names, example pictures none; a result may lie out of sight.
(() => {
  const shown = new WeakSet();
  const names = [["[id$=-photo] img", "The photo"], [".faces img", "The faces that were found, numbered"]];

  function name() {
    document.querySelectorAll("button.upload-container[aria-label], button.playback[aria-label]").forEach((button) => {
      button.removeAttribute("aria-label"); // its text says it
    });
    document.querySelectorAll("button.gallery-item:not([aria-label])").forEach((item) => {
      item.setAttribute("aria-label", "Use the example");
    });
    for (const [selector, alt] of names) {
      document.querySelectorAll(selector).forEach((image) => { if (image.alt !== alt) image.alt = alt; });
    }
  }

  // A result that appears below the window is brought into it.
  function follow() {
    document.querySelectorAll("[id$=-result] video").forEach((video) => {
      if (shown.has(video)) return;
      shown.add(video);
      const show = () => video.closest("[id$=-result]")?.scrollIntoView({ block: "nearest" });
      video.addEventListener("loadedmetadata", () => setTimeout(show, 100)); // when its height is known
      show();
    });
  }

  function begin() {
    name();
    new MutationObserver(() => { name(); follow(); }).observe(document.body, { childList: true, subtree: true });
  }

  if (document.body) begin(); else addEventListener("DOMContentLoaded", begin);
})();
