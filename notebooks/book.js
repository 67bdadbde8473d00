// A live explorer in a page of the book is as high as it says and has the colors of the page. The files that a browser
// opens from a disk cannot look into each other, so they send messages.
const liveFrames = () => [...document.querySelectorAll("iframe.live")];
const sendTheme = ({ contentWindow }) => {
  contentWindow.postMessage({ muscTheme: document.documentElement.dataset.theme }, "*");
};

addEventListener("message", ({ source, data }) => {
  const frame = liveFrames().find(({ contentWindow }) => contentWindow === source);
  if (!frame || !data.muscHeight) return;
  frame.style.height = `${data.muscHeight}px`;
  sendTheme(frame);
});
new MutationObserver(() => liveFrames().forEach(sendTheme)).observe(document.documentElement, {
  attributeFilter: ["data-theme"],
});
